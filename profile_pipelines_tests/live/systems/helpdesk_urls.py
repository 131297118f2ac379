"""The addresses of the help desk's site."""

from django.urls import include, path

urlpatterns = [path("", include("helpdesk.urls"))]
