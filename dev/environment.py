"""The environment the launcher gives to its children: what is set, then `.env`, then development defaults."""

import secrets
from collections.abc import Mapping
from pathlib import Path

SECRET_NAMES = ("SECRET_KEY", "JWT_SECRET_KEY")


def development_environment(root: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return `given` completed for children that run in `root`. An empty value counts as unset.

    REDIS_URL stays absent when nobody set it: the launcher then starts a server and fills it in.
    """
    environ = read_env_file(root / ".env") | {name: value for name, value in given.items() if value}
    host = environ.setdefault("HOST", "127.0.0.1")
    port = environ.setdefault("PORT", "8000")
    environ.setdefault("PARLEY_ENV", "development")
    environ.setdefault("DATABASE_URL", "sqlite:///var/parley.db")
    environ.setdefault("PUBLIC_URL", f"http://{reachable(host)}:{port}")
    environ.setdefault("FLASK_APP", "wsgi")
    environ["PROMETHEUS_MULTIPROC_DIR"] = str(root / "var" / "metrics")
    environ["PYTHONUNBUFFERED"] = "1"
    if not all(environ.get(name) for name in SECRET_NAMES):
        environ = kept_secrets(root / "var" / "secrets.env") | environ
    return environ


def read_env_file(path: Path) -> dict[str, str]:
    """Return the KEY=VALUE lines of a file, without comments, `export` and surrounding quotes; {} without the file."""
    found: dict[str, str] = {}
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or name.lstrip().startswith("#"):
            continue
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        if value:
            found[name.strip()] = value
    return found


def kept_secrets(path: Path) -> dict[str, str]:
    """Return random development secrets, the same in every run: made once and kept in `path`, mode 0600."""
    kept = read_env_file(path)
    missing = [name for name in SECRET_NAMES if name not in kept]
    if missing:
        kept |= {name: secrets.token_urlsafe(48) for name in missing}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in kept.items()), encoding="utf-8")
    return kept


def reachable(host: str) -> str:
    """Return the host name to use in a URL for a server that listens on `host`."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104  compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
