"""Every mistake is reported at its line, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.catalog.folders import (
    VALID,
    attr,
    audience,
    crm,
    mistakes_in,
    sources,
    write_catalogue,
)

ATTRIBUTES = [
    pytest.param(
        attr("points:", "tier:"),
        [
            "attributes.yaml:5: tier: stands here twice, first on line 1; keep one",
            (
                "sources/crm.yaml:10: syncs.contacts.attributes.points: unknown attribute; "
                "declare it in attributes.yaml"
            ),
        ],
        id="key twice",
    ),
    pytest.param(
        attr("fresh_within: 24h", "fresh_within: 24h\n  valid: {min: 2024-02-30}"),
        [
            (
                "attributes.yaml:5: tier.valid.min: 2024-02-30 isn't in the calendar; put text "
                "in quotes"
            )
        ],
        id="date that isn't in the calendar",
    ),
    pytest.param(
        attr("type: string", "type: string\n  ower: me"),
        ["attributes.yaml:3: tier.ower: unknown key; did you mean owner?"],
        id="misspelt key",
    ),
    pytest.param(
        attr("type: string", "type: string\n  zzz: me"),
        [
            (
                "attributes.yaml:3: tier.zzz: unknown key; the keys here are type, sources, "
                "merge, fresh_within, ordered, valid, max_invalid, max_emptied, max_changed, "
                "keep_history, consent, description and owner"
            )
        ],
        id="unknown key",
    ),
    pytest.param(
        attr("  fresh_within: 24h\n", ""),
        [("attributes.yaml:1: tier.fresh_within: is missing; write for example fresh_within: 24h")],
        id="missing key",
    ),
    pytest.param(
        attr("string", "sting"),
        [
            (
                "attributes.yaml:2: tier.type: must be string, integer, decimal, boolean, date, "
                "timestamp or list; did you mean string?"
            )
        ],
        id="unknown type",
    ),
    pytest.param(
        attr("24h", "1 month"),
        [
            (
                "attributes.yaml:4: tier.fresh_within: '1 month' is not a duration; write for "
                "example 90m, 24h or 30 days"
            )
        ],
        id="month as duration",
    ),
    pytest.param(
        {**attr("tier:", "Tier:")},
        [
            (
                "attributes.yaml:1: Tier: must be lower case words joined by single "
                "underscores, like contract_end_date"
            ),
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.tier: unknown attribute; did you "
                "mean Tier?"
            ),
        ],
        id="upper case name",
    ),
    pytest.param(
        attr("tier:\n  type: string\n  sources: [crm]\n  fresh_within: 24h\n", "tier: string\n"),
        ["attributes.yaml:1: tier: must be a mapping (key: value)"],
        id="text for a mapping",
    ),
    pytest.param(
        attr("[crm]", "crm"),
        ["attributes.yaml:3: tier.sources: must be a list, for example [a, b]"],
        id="text for a list",
    ),
    pytest.param(
        attr("24h", "24h\n  max_invalid: 120%"),
        ["attributes.yaml:5: tier.max_invalid: must be at most 100%"],
        id="share above 1",
    ),
    pytest.param(
        attr("24h", "24h\n  max_invalid: few"),
        ["attributes.yaml:5: tier.max_invalid: must be a share, for example 5% or 0.05"],
        id="share in words",
    ),
    pytest.param(
        attr("24h", "24h\n  valid: {unique: often}"),
        ["attributes.yaml:5: tier.valid.unique: must be true or false"],
        id="text for a flag",
    ),
    pytest.param(
        attr("integer\n", "integer\n  valid: {min: low, max: 9, in: [1, x]}\n"),
        [
            "attributes.yaml:7: points.valid.in[1]: must be a whole number, for example 100",
            "attributes.yaml:7: points.valid.min: must be a whole number, for example 100",
        ],
        id="valid values of another type",
    ),
    pytest.param(
        attr("integer\n", "integer\n  valid: {min: 9, max: 1}\n"),
        ["attributes.yaml:7: points.valid.min: is above max; no value would be valid"],
        id="min above max",
    ),
    pytest.param(
        attr("string\n", "string\n  valid: {min: a}\n"),
        [
            (
                "attributes.yaml:3: tier.valid.min: the type string has no order; use `in` or "
                "`matches`"
            )
        ],
        id="order of strings",
    ),
    pytest.param(
        attr("string\n", "string\n  valid: {matches: '[A-Z'}\n"),
        [
            (
                "attributes.yaml:3: tier.valid.matches: isn't a regular expression: "
                "unterminated character set"
            )
        ],
        id="broken regex",
    ),
    pytest.param(
        attr("string\n", "string\n  valid: {matches: '(?=A)A'}\n"),
        [
            (
                "attributes.yaml:3: tier.valid.matches: look-around and back-references aren't "
                "read; write a plain regular expression"
            )
        ],
        id="look-around",
    ),
    pytest.param(
        attr("integer\n", "integer\n  valid: {matches: '1'}\n"),
        [
            (
                "attributes.yaml:7: points.valid.matches: only a string can be matched; its "
                "type is integer"
            )
        ],
        id="regex on numbers",
    ),
    pytest.param(
        attr("string\n", "string\n  valid: {in: []}\n"),
        ["attributes.yaml:3: tier.valid.in: is empty; no value would be valid"],
        id="no valid value",
    ),
    pytest.param(
        attr("string\n", "string\n  merge: most_restrictive\n"),
        ["attributes.yaml:3: tier.merge: most_restrictive needs a boolean; its type is string"],
        id="most_restrictive text",
    ),
    pytest.param(
        attr("string\n", "list\n  merge: min\n"),
        ["attributes.yaml:3: tier.merge: min needs values in order; its type is list"],
        id="min of lists",
    ),
    pytest.param(
        attr("string\n", "string\n  consent: email\n"),
        [
            (
                "attributes.yaml:3: tier.consent: a consent is a boolean, true or false; its "
                "type is string"
            )
        ],
        id="consent that is text",
    ),
    pytest.param(
        {
            "attributes.yaml": VALID["attributes.yaml"].replace("tier", "id_email"),
            **crm("tier: tier", "id_email: tier"),
        },
        [
            (
                "attributes.yaml:1: id_email: is a name that the lake and conditions keep for "
                "themselves; choose another"
            )
        ],
        id="reserved name",
    ),
    pytest.param(
        attr("24h", "30m"),
        [
            (
                "attributes.yaml:4: tier.fresh_within: is tighter than the schedule: crm, the "
                "source of truth, syncs it with gaps of up to 1h; allow at least that, or sync "
                "more often"
            )
        ],
        id="fresher than the schedule",
    ),
    pytest.param(
        attr("[crm]", "[crn]"),
        [
            "attributes.yaml:3: tier.sources[0]: unknown system crn; did you mean crm?",
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.tier: the attribute doesn't list "
                "crm among its sources; add it there, or leave out"
            ),
        ],
        id="misspelt system",
    ),
    pytest.param(
        attr("[crm]", "[crm, warehouse]"),
        ["attributes.yaml:3: tier.sources[1]: unknown system warehouse; there is only crm"],
        id="unknown system",
    ),
    pytest.param(
        attr("[crm]", "[crm, crm]"),
        ["attributes.yaml:3: tier.sources: names crm twice; keep the place that it should have"],
        id="system twice",
    ),
    pytest.param(
        crm("      tier: tier\n", ""),
        [
            (
                "attributes.yaml:3: tier.sources[0]: system crm maps no field to tier; map it "
                "in sources/crm.yaml or take crm out here"
            )
        ],
        id="system that doesn't map",
    ),
    pytest.param(
        {
            **attr("[crm]", "[erp]"),
            "sources/erp.yaml": (
                "system: erp\nkind: warehouse\nconnection: {type: files, root: data}\nsyncs:\n"
                "  all:\n    path: x.csv\n    identifiers: {email: email}\n"
                "    attributes: {tier: tier}\n"
            ),
        },
        [
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.tier: the attribute doesn't list "
                "crm among its sources; add it there, or leave out"
            )
        ],
        id="system that isn't listed",
    ),
]

SOURCES = [
    pytest.param(
        crm("tier: tier", "teir: tier"),
        [
            (
                "attributes.yaml:3: tier.sources[0]: system crm maps no field to tier; map it "
                "in sources/crm.yaml or take crm out here"
            ),
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.teir: unknown attribute; did you "
                "mean tier?"
            ),
        ],
        id="misspelt attribute",
    ),
    pytest.param(
        crm(
            "    attributes:\n",
            (
                "    attributes: {}\n  accounts:\n    table: accounts\n"
                "    identifiers: {email: e}\n"
                "    attributes: {tier: t}\n"
                "  third:\n    table: third\n    identifiers: {email: e}\n    attributes:\n"
            ),
        ),
        [
            (
                "sources/crm.yaml:17: syncs.third.attributes.tier: sync accounts maps this "
                "attribute already; keep one"
            )
        ],
        id="two syncs, one attribute",
    ),
    pytest.param(
        crm("{email: email}", "{mail: email}"),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.identifiers.mail: unknown identifier; did "
                "you mean email?"
            )
        ],
        id="unknown identifier",
    ),
    pytest.param(
        crm("table: contacts", "table: contacts\n    schedule: every hour"),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.schedule: must be a cron schedule of five "
                "fields, for example 0 * * * *"
            )
        ],
        id="cron in words",
    ),
    pytest.param(
        crm("tier: tier", "tier: {field: tier, schedule: 61 * * * *}"),
        [
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.tier.schedule: isn't a cron "
                "schedule; write for example 0 * * * *"
            )
        ],
        id="cron out of range",
    ),
    pytest.param(
        crm("table: contacts", "table: contacts\n    schedule: 0 0 31 2 *"),
        [("sources/crm.yaml:7: syncs.contacts.schedule: never comes; write for example 0 * * * *")],
        id="cron that never comes",
    ),
    pytest.param(
        crm("tier: tier", "tier: {feld: tier}"),
        [
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.tier.feld: unknown key; did you "
                "mean field?"
            ),
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.tier.field: is missing; write "
                "for example field: account_status"
            ),
        ],
        id="misspelt field",
    ),
    pytest.param(
        crm("tier: tier", "tier:"),
        [
            (
                "sources/crm.yaml:9: syncs.contacts.attributes.tier: must be a field's name or "
                "path, or {field: …, convert: […]}"
            )
        ],
        id="no field",
    ),
    pytest.param(
        crm("table: contacts", "path: contacts\n    records: x"),
        [
            (
                "sources/crm.yaml:5: syncs.contacts.table: is missing; write the table's name, "
                "or query: select …"
            ),
            (
                "sources/crm.yaml:6: syncs.contacts.path: doesn't go with a sql connection; "
                "there one writes table or query"
            ),
            (
                "sources/crm.yaml:7: syncs.contacts.records: doesn't go with a sql connection; "
                "there one writes table or query"
            ),
        ],
        id="path on sql",
    ),
    pytest.param(
        crm("table: contacts", "table: contacts\n    query: select 1"),
        ["sources/crm.yaml:7: syncs.contacts.query: stands beside table; keep one of them"],
        id="table and query",
    ),
    pytest.param(
        sources("{type: rest, base_url: 'https://x'}", "table: contacts"),
        [
            (
                "sources/crm.yaml:5: syncs.contacts.path: is missing; write for example path: "
                "/v1/customers"
            ),
            (
                "sources/crm.yaml:6: syncs.contacts.table: doesn't go with a rest connection; "
                "there one writes path, method, params, headers, body, graphql, records, "
                "paging, cursor, window, bulk, full_read, deleted_list, rate_limit, one or events"
            ),
        ],
        id="table on rest",
    ),
    pytest.param(
        sources("{type: files, root: data}", "table: contacts"),
        [
            (
                "sources/crm.yaml:5: syncs.contacts.path: is missing; write for example path: "
                "customers/*.parquet"
            ),
            (
                "sources/crm.yaml:6: syncs.contacts.table: doesn't go with a files connection; "
                "there one writes path, format or csv"
            ),
        ],
        id="table on files",
    ),
    pytest.param(
        sources("{type: files, root: data}", "path: a.txt\n    csv: {delimiter: ;;, null: [1]}"),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.csv.delimiter: must be one character, "
                "for example ';', '|' or tab"
            ),
            (
                "sources/crm.yaml:7: syncs.contacts.csv.null: must be texts in quotes, "
                "for example ['NULL', '-']"
            ),
        ],
        id="how CSV is written",
    ),
    pytest.param(
        sources(
            "{type: files, root: data}",
            "path: a.csv\n    csv: {encoding: ansi, quote: none, header: [a, a], decimal: x}",
        ),
        [
            "sources/crm.yaml:7: syncs.contacts.csv.decimal: must be '.' or ','",
            (
                "sources/crm.yaml:7: syncs.contacts.csv.encoding: isn't the name of an encoding; "
                "write for example utf-8, utf-16, windows-1252 or iso-8859-2"
            ),
            "sources/crm.yaml:7: syncs.contacts.csv.header: names a twice",
        ],
        id="encoding and header of CSV",
    ),
    pytest.param(
        sources("{type: files, root: data}", "path: a.parquet\n    csv: {skip: 1}"),
        [
            "sources/crm.yaml:7: syncs.contacts.csv: doesn't go with parquet files; take it out, "
            "or write format: csv"
        ],
        id="csv of Parquet",
    ),
    pytest.param(
        sources("{type: files, root: data}", "path: contacts"),
        [
            (
                "sources/crm.yaml:5: syncs.contacts.format: is missing, and the path doesn't "
                "tell; write parquet, delta, iceberg, csv or jsonl"
            )
        ],
        id="format unclear",
    ),
    pytest.param(
        crm("table: contacts", "table: contacts\n    mode: incremental"),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.mode: incremental needs updated_at, the "
                "field with the time of the last change"
            )
        ],
        id="incremental without updated_at",
    ),
    pytest.param(
        crm("table: contacts", "table: contacts\n    mode: events"),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.mode: events doesn't go with a sql "
                "connection; write incremental or full"
            )
        ],
        id="events of a database",
    ),
    pytest.param(
        sources("{type: rest, base_url: 'https://x'}", "path: contacts\n    mode: events"),
        [
            (
                "sources/crm.yaml:5: syncs.contacts.events: is missing; say where the system lists "
                "what has happened"
            ),
            ("sources/crm.yaml:5: syncs.contacts.key: is missing; events name records by it"),
            (
                "sources/crm.yaml:5: syncs.contacts.one: is missing; say where one record is read, "
                "for example one: /v1/customers/{id}"
            ),
        ],
        id="events without what they need",
    ),
    pytest.param(
        sources(
            "{type: rest, base_url: 'https://x'}",
            "path: contacts\n    one: {path: /graphql, graphql: {query: q, variables: {a: b}}}\n"
            "    bulk: {job: id, poll: {path: 'jobs/{job}', state: s, "
            "done: [d]}, result: {url: u, format: jsonl}}",
        ),
        [
            "sources/crm.yaml:7: syncs.contacts.one: a variable of graphql must hold {id} once, "
            "in place of the record's key"
        ],
        id="one by GraphQL without the key",
    ),
    pytest.param(
        sources(
            "{type: rest, base_url: 'https://x'}",
            "path: contacts\n    events: {path: log, cursor: {param: at}, time: at, event_id: id, "
            "id: contact}",
        ),
        ["sources/crm.yaml:7: syncs.contacts.events: needs mode: events; or leave it out"],
        id="events without their mode",
    ),
    pytest.param(
        sources(
            "{type: rest, base_url: 'https://x'}",
            "path: contacts\n    paging: {type: cursor, param: after}",
        ),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.paging: needs one of next, "
                "next_header and last_record: where the next cursor stands"
            )
        ],
        id="cursor paging without cursor",
    ),
    pytest.param(
        crm("type: sql", "type: sqll"),
        [
            (
                "sources/crm.yaml:3: connection.type: must be sql, rest, files or custom, "
                "or a preset of `profile-pipelines sources`; did you mean sql?"
            )
        ],
        id="misspelt connection type",
    ),
    pytest.param(
        crm("type: sql, ", ""),
        ["sources/crm.yaml:3: connection: the key `type` is missing"],
        id="connection without type",
    ),
    pytest.param(
        crm("kind: crm", "kind: shop"),
        ["sources/crm.yaml:2: kind: must be crm, billing, ecommerce, support or warehouse"],
        id="unknown kind",
    ),
    pytest.param(
        {"sources/crm.yaml": VALID["sources/crm.yaml"].partition("syncs:")[0] + "syncs: {}\n"},
        ["sources/crm.yaml:4: syncs: is empty; at least one entry is needed"],
        id="no syncs",
    ),
]

SECRETS = [
    pytest.param(
        crm("{env: CRM_URL}", "postgresql://reader:hunter2@db/crm"),
        [
            (
                "sources/crm.yaml:3: connection.url: holds a secret; write the whole of it as "
                "{env: NAME} and set that variable"
            )
        ],
        id="password in a URL",
    ),
    pytest.param(
        sources(
            "{type: rest, base_url: 'https://x', auth: {type: bearer, token: hunter2}}", "path: x"
        ),
        [
            (
                "sources/crm.yaml:3: connection.auth.token: secrets never stand in YAML; write "
                "{env: NAME} and set that environment variable"
            )
        ],
        id="token",
    ),
    pytest.param(
        crm("url: {env: CRM_URL}", "url: {env: CRM_URL}, password: hunter2"),
        [
            (
                "sources/crm.yaml:3: connection.password: secrets never stand in YAML; write "
                "{env: NAME} and set that environment variable"
            ),
            "sources/crm.yaml:3: connection.password: unknown key; "
            "the keys here are type, url, timeout and zone",
        ],
        id="password under an unknown key",
    ),
    pytest.param(
        sources(
            (
                "{type: rest, base_url: 'https://x', headers: {"
                "Authorization: Bearer hunter2, X-Api-Key: hunter2}}"
            ),
            "path: x",
        ),
        [
            (
                "sources/crm.yaml:3: connection.headers.Authorization: secrets never stand in "
                "YAML; write {env: NAME} and set that environment variable"
            ),
            (
                "sources/crm.yaml:3: connection.headers.X-Api-Key: secrets never stand in YAML; "
                "write {env: NAME} and set that environment variable"
            ),
        ],
        id="headers",
    ),
    pytest.param(
        crm("env: CRM_URL", "env: 'hunter2!'"),
        [
            (
                "sources/crm.yaml:3: connection.url.env: must be the name of an environment "
                "variable, for example CRM_URL"
            )
        ],
        id="secret for a variable's name",
    ),
    pytest.param(
        sources("{type: rest, base_url: 'https://x'}", "path: x\n    params: {api_key: hunter2}"),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.params.api_key: secrets never stand in "
                "YAML; write {env: NAME} and set that environment variable"
            )
        ],
        id="parameter",
    ),
    pytest.param(
        sources(
            "{type: rest, base_url: 'https://x'}",
            "path: x\n    body: {login: {password: hunter2}}\n    method: GET\n"
            "    updated_at: at\n    window: {cap: 9, by: split}\n"
            "    cursor: {text: 'at > {since}'}",
        ),
        [
            (
                "sources/crm.yaml:7: syncs.contacts.body.login.password: secrets never stand in "
                "YAML; write {env: NAME} and set that environment variable"
            ),
            "sources/crm.yaml:8: syncs.contacts.method: GET sends no body; take method out, or "
            "write POST",
            (
                "sources/crm.yaml:11: syncs.contacts.cursor: windows that are split need an end; "
                "write until, or {until} in the text"
            ),
            (
                "sources/crm.yaml:11: syncs.contacts.cursor.text: has no place; write {changes} "
                "into path, params, body or graphql where it belongs"
            ),
        ],
        id="request that doesn't fit together",
    ),
    pytest.param(
        sources(
            "{type: rest, base_url: 'https://x'}",
            "path: x\n    full_read: {path: y, method: GET, body: {a: 1}}",
        ),
        [
            "sources/crm.yaml:7: syncs.contacts.full_read: every read is full here; write its "
            "request as the sync's own",
            "sources/crm.yaml:7: syncs.contacts.full_read.method: GET sends no body; take method "
            "out, or write POST",
        ],
        id="full read that doesn't fit",
    ),
    pytest.param(
        sources(
            "{type: rest, base_url: 'https://x'}",
            "path: x\n    updated_at: at\n    cursor: {param: since, format: parts}",
        ),
        [
            "sources/crm.yaml:8: syncs.contacts.cursor: parts are an object in a posted body; "
            "write param and location",
        ],
        id="parts of a time in the address",
    ),
]

FOLDER = [
    pytest.param(
        {"attributes.yaml": "tier:\n  type: [string\n"},
        ["attributes.yaml:3: this isn't valid YAML: a bracket or brace isn't closed"],
        id="syntax error",
    ),
    pytest.param(
        {"catalogue.yaml": "- a\n"},
        ["catalogue.yaml:1: must hold keys (key: value)"],
        id="list for a mapping",
    ),
    pytest.param(
        {"identifiers.yaml": ""},
        ["identifiers.yaml:1: the file is empty; fill it or delete it"],
        id="empty file",
    ),
    pytest.param(
        {"identifiers.yaml": "email: {normalise: [trim, uper, {strip_prefx: C}]}\n"},
        [
            (
                "identifiers.yaml:1: email.normalise[1]: isn't a step; a step is trim, upper, "
                "lower, nfkc, digits, email, strip_leading_zeros, {strip_prefix: C-} or "
                "{phone: DE}; did you mean upper?"
            ),
            (
                "identifiers.yaml:1: email.normalise[2]: isn't a step; a step is trim, upper, "
                "lower, nfkc, digits, email, strip_leading_zeros, {strip_prefix: C-} or {phone: DE}"
            ),
        ],
        id="unknown step",
    ),
    pytest.param(
        {"catalogue.yaml": "timezone: Europe/Berlni\n"},
        ["catalogue.yaml:1: timezone: is no time zone; did you mean Europe/Berlin?"],
        id="misspelt time zone",
    ),
    pytest.param(
        {"catalogue.yaml": "timezone: Mars\n"},
        ["catalogue.yaml:1: timezone: is no time zone; write for example Europe/Berlin"],
        id="unknown time zone",
    ),
    pytest.param(
        {"catalogue.yaml": "timezone: Factory\n"},
        ["catalogue.yaml:1: timezone: is no time zone; write for example Europe/Berlin"],
        id="the placeholder for a time zone",
    ),
    pytest.param(
        {"catalogue.yaml": "timezone: localtime\n"},
        ["catalogue.yaml:1: timezone: is no time zone; write for example Europe/Berlin"],
        id="the zone of the machine",
    ),
    pytest.param(
        {"catalogue.yaml": "timezone: Foo/Bar\nmax_cluster: 1\n"},
        [
            "catalogue.yaml:1: timezone: is no time zone; write for example Europe/Berlin",
            "catalogue.yaml:2: max_cluster: must be at least 2",
        ],
        id="two mistakes in the settings",
    ),
    pytest.param(
        {
            "channels.yaml": "limits: {quiet_hours: '08:00 to 18:00'}\nchannels:\n"
            "  drop: {type: file, window: mon-fri 09:00-17:00}\n"
        },
        [
            "channels.yaml:3: channels.drop.window: never lets a message go out over drop, with "
            "the other windows and quiet hours"
        ],
        id="a window that never opens",
    ),
    pytest.param(
        {"catalogue.yaml": "timezone: Europe/Berlin\ntimezone_attribute: teir\n"},
        [
            "catalogue.yaml:2: timezone_attribute: unknown attribute teir; did you mean tier?",
        ],
        id="no such attribute for time zones",
    ),
    *(
        pytest.param(
            crm("table: contacts", place), [f"sources/crm.yaml:6: syncs.contacts.{text}"], id=place
        )
        for place, text in (
            ("table: ''", "table: is empty; write the table's name, or query: select …"),
            ("query: ' '", "query: is empty; write a select, or the table's name as table: …"),
            (
                "query: delete from contacts",
                "query: must begin with select (or with, from, values, table); nothing is written",
            ),
            (
                "query: select 1; delete from contacts",
                "query: has several statements; write one select",
            ),
        )
    ),
    *(
        pytest.param(crm("table: contacts", f"query: {query}"), [], id=query)
        for query in (
            "\"-- of all\\nSELECT ';' as email; -- the end;\"",
            "'/* a; b */ (select 1) union (select 2);'",
            "with a as (select 1) select * from a",
        )
    ),
    pytest.param(
        sources("{type: rest, base_url: 'ftp://x.example.com'}", "path: /a"),
        [
            "sources/crm.yaml:3: connection.base_url: must be the API's address, for example "
            "https://api.example.com/v1"
        ],
        id="address of no API",
    ),
    *(
        pytest.param(
            sources("{type: files, root: data}", f"path: {path}"),
            [
                "sources/crm.yaml:6: syncs.contacts.path: leads out of the connection's root; "
                "write it below the root, for example customers/*.parquet"
            ],
            id=path,
        )
        for path in ("../x.csv", "/data/x.csv", "s3://bucket/x.csv")
    ),
    pytest.param(
        {"catalogue.yaml": "max_cluster: 1\n"},
        ["catalogue.yaml:1: max_cluster: must be at least 2"],
        id="cluster too small",
    ),
    pytest.param(
        {"attribtues.yaml": "x: 1\n"},
        ["attribtues.yaml:1: is no part of a catalogue; did you mean attributes.yaml?"],
        id="misspelt file",
    ),
    pytest.param(
        {"sources/erp.yml": "x: 1\n"},
        ["sources/erp.yml:1: isn't read; name it sources/erp.yaml"],
        id="yml",
    ),
    pytest.param(
        {"sources/old/erp.yaml": "x: 1\n"},
        ["sources/old/erp.yaml:1: is no part of a catalogue; did you mean sources/erp.yaml?"],
        id="nested file",
    ),
    pytest.param(
        {"attributes/more.yaml": VALID["attributes.yaml"]},
        [
            (
                "attributes/more.yaml:1: tier: the attribute tier is declared already in "
                "attributes.yaml:1; keep one"
            ),
            (
                "attributes/more.yaml:5: points: the attribute points is declared already in "
                "attributes.yaml:5; keep one"
            ),
        ],
        id="attribute in two files",
    ),
    pytest.param(
        {"sources/crm2.yaml": crm("kind: crm", "kind: billing")["sources/crm.yaml"]},
        [
            (
                "sources/crm2.yaml:1: system: the system crm is declared already in "
                "sources/crm.yaml:1; keep one"
            )
        ],
        id="system in two files",
    ),
    pytest.param(
        {**attr("string", "sting"), **audience("{tier: {is: gold}}")},
        [
            (
                "attributes.yaml:2: tier.type: must be string, integer, decimal, boolean, date, "
                "timestamp or list; did you mean string?"
            )
        ],
        id="no follow-up of a broken attribute",
    ),
    pytest.param(
        {"attributes.yaml": "tier: [\n", **audience("{tier: {is: gold}}")},
        [
            (
                "attributes.yaml:2: this isn't valid YAML: a bracket isn't closed, or a value "
                "is missing"
            )
        ],
        id="no follow-up of an unreadable file",
    ),
]

AUDIENCES = [
    pytest.param(
        audience("{teir: {is: gold}}"),
        ["audiences/a.yaml:2: where.teir: unknown attribute teir; did you mean tier?"],
        id="unknown attribute",
    ),
    pytest.param(
        audience("{points: {more_than: many}}"),
        ["audiences/a.yaml:2: where.points.more_than: must be a whole number, for example 100"],
        id="value of another type",
    ),
    pytest.param(
        audience("{in_audience: b}"),
        ["audiences/a.yaml:2: where.in_audience: unknown audience b; there is only a"],
        id="unknown audience",
    ),
    pytest.param(
        {
            **audience("{in_audience: b}"),
            **audience("{all: [{in_audience: a}, {tier: {is: gold}}]}", "b"),
        },
        [
            (
                "audiences/a.yaml:2: where: the audience depends on itself: a → b → a; take one "
                "of these references out"
            )
        ],
        id="cycle",
    ),
    pytest.param(
        audience("{not_in_audience: a}"),
        [
            (
                "audiences/a.yaml:2: where: the audience depends on itself: a → a; take one of "
                "these references out"
            )
        ],
        id="itself",
    ),
    pytest.param(
        audience("{tier: {is: gold}, points: {is: 1}}"),
        [
            (
                "audiences/a.yaml:2: where: a condition has one key, not 2 (tier and points); "
                "write `all:` or `any:` with a list of conditions"
            )
        ],
        id="two keys",
    ),
    pytest.param(
        audience("{tier: {is: 2030-02-30}}"),
        ["audiences/a.yaml:2: where.tier.is: 2030-02-30 isn't in the calendar; put text in quotes"],
        id="date that isn't in the calendar, in a condition",
    ),
    pytest.param(
        {"audiences/a.yaml": "where: {tier: {is: gold}}\n"},
        ["audiences/a.yaml:1: audience: is missing; write for example audience: gold_customers"],
        id="no name",
    ),
    pytest.param(
        {
            **attr("string\n", "string\n  valid: {in: [gold, silver]}\n"),
            **audience("\n  any:\n  - tier: {is: glod}"),
        },
        [
            (
                "audiences/a.yaml:4: where.any[0].tier.is: isn't among the valid values; did "
                "you mean gold?"
            )
        ],
        id="value that isn't valid",
    ),
]


@pytest.mark.parametrize(("files", "expected"), ATTRIBUTES + SOURCES + FOLDER + AUDIENCES)
def test_mistake(tmp_path: Path, files: dict[str, str], expected: list[str]):
    """A mistake gives exactly these lines."""
    assert mistakes_in(write_catalogue(tmp_path, **files)) == expected


@pytest.mark.parametrize(("files", "expected"), SECRETS)
def test_literal_secret(tmp_path: Path, files: dict[str, str], expected: list[str]):
    """A literal secret is refused, and no message repeats it."""
    found = mistakes_in(write_catalogue(tmp_path, **files))
    assert found == expected
    assert not any("hunter2" in line for line in found)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"catalogue.yaml": "parallel: 0\n"}, ["catalogue.yaml:1: parallel: must be at least 1"]),
        (crm("kind: crm", "kind: crm\nat_most: 0s"), ["crm.yaml:3: at_most: must be more than 0"]),
        (
            crm("table: contacts", "table: contacts\n    at_most: soon"),
            ["crm.yaml:7: syncs.contacts.at_most: 'soon' is not a duration; write for example 90m"],
        ),
        (crm("table: contacts", "table: contacts\n    at_most: 90m"), []),
        (
            crm("{type: sql,", "{type: sql, timeout: 10,"),
            ["crm.yaml:3: connection.timeout: 10 is not a duration"],
        ),
        (
            sources(
                "{type: rest, base_url: 'https://x.org', min_bytes_per_second: -1, "
                "max_empty_pages: 0, timeout: 0s}",
                "path: people",
            ),
            [
                "crm.yaml:3: connection.max_empty_pages: must be at least 1",
                "crm.yaml:3: connection.min_bytes_per_second: must be at least 0",
                "crm.yaml:3: connection.timeout: must be more than 0",
            ],
        ),
    ],
)
def test_limits_of_what_a_source_may_take(
    tmp_path: Path, files: dict[str, str], expected: list[str]
):
    """Those of a run, a system, a sync and a connection are read, and refused, alike."""
    found = mistakes_in(write_catalogue(tmp_path, **files))
    assert len(found) == len(expected)
    for line, part in zip(found, expected, strict=True):
        assert part in line


def test_all_at_once(tmp_path: Path):
    """Mistakes in several files come together, sorted by file and line."""
    files = {
        **attr("24h", "soon"),
        **crm("tier: tier", "teir: tier"),
        "catalogue.yaml": "zone: UTC",
    }
    found = mistakes_in(write_catalogue(tmp_path, **files))
    assert [line.split(": ")[0] for line in found] == [
        "attributes.yaml:4",
        "catalogue.yaml:1",
        "sources/crm.yaml:9",
    ]


@pytest.mark.parametrize("name", ["audiences", "identities", "profiles", "journeys"])
def test_a_system_has_no_name_of_what_is_made_of_systems(tmp_path: Path, name: str):
    """In Dagster and in the lake these names are taken."""
    files = {
        f"sources/{name}.yaml": VALID["sources/crm.yaml"].replace("system: crm", f"system: {name}"),
        "attributes.yaml": VALID["attributes.yaml"].replace("[crm]", f"[crm, {name}]"),
    }
    assert mistakes_in(write_catalogue(tmp_path, **files)) == [
        f"sources/{name}.yaml:1: system: is the name of what is made of the systems, or built in; "
        "choose another"
    ]
