"""The Runtime of the application at hand."""

from typing import cast

from flask import Flask, current_app

from shared.runtime import Runtime

_NAME = "parley"


def attach(app: Flask, runtime: Runtime) -> None:
    """Give an application its runtime."""
    app.extensions[_NAME] = runtime


def current_runtime() -> Runtime:
    """Return the runtime of the current application."""
    return cast(Runtime, current_app.extensions[_NAME])
