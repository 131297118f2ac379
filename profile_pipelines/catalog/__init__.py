"""The catalogue: YAML files to typed declarations (`load`), conditions, and the plan they give."""
