"""Addresses as operators give them: of contracts, of services (URLs) and of the journal's file.

Checks form only and reaches nothing but the folder of a file. The ``parse_`` functions raise ``ValueError`` with the
reason, never repeating what was given: a URL may hold a key. Called by ``config``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

FILE_SCHEME = "sqlite:///"
SECRET_LENGTH_MIN = 6
"""Shorter texts would be found inside ordinary words."""

KEY_LENGTH_MIN = 16
"""Providers put keys of this length or more into the path of a URL; shorter parts are words."""

NAMED_MAX = 10

_NAME = re.compile(r"[0-9a-z._-]+")
_NEXT_URL = re.compile(r"\s*,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_NOTIFY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]*")
_CONTRACT = re.compile(r"0x[0-9a-fA-F]{40}")


def parse_contract(text: str) -> str:
    if not _CONTRACT.fullmatch(text):
        raise ValueError("it is no address")
    return text


def parse_host(text: str) -> str:
    """What the resolver can be asked for; whether it knows the name is another matter."""
    if not text.isprintable():
        raise ValueError("it is no host name")
    try:
        text.encode("idna")
    except UnicodeError:
        raise ValueError("it is no host name") from None
    return text


def parse_hosts(text: str) -> list[str]:
    """Host names and addresses separated by commas, as a browser names them: without port, brackets or path."""
    hosts = [host.strip().lower() for host in text.split(",") if host.strip()]
    if not hosts or any(not _NAME.fullmatch(host) and not _check_is_address(host) for host in hosts):
        raise ValueError("one of them is no host name")
    return hosts


def parse_url(text: str, schemes: Sequence[str]) -> str:
    if not check_is_url(text, schemes):
        raise ValueError("it is no such URL")
    return text.rstrip("/")


def parse_urls(text: str, schemes: Sequence[str]) -> list[str]:
    """URLs separated by commas."""
    urls = [url.strip() for url in text.split(",") if url.strip()]
    wrong = [str(number) for number, url in enumerate(urls, start=1) if not check_is_url(url, schemes)]
    if wrong:
        named = ", ".join(wrong[:NAMED_MAX]) + (", ..." if len(wrong) > NAMED_MAX else "")
        raise ValueError(f"number {named} of {len(urls)} is no such URL")
    if not urls:
        raise ValueError("it names none")
    return urls


def split_notify_urls(text: str) -> list[str]:
    """URLs of apprise, separated by commas. A comma that no scheme follows is a part of a URL."""
    return [url.strip() for url in _NEXT_URL.split(text) if url.strip()]


def parse_notify_urls(text: str) -> list[str]:
    """Their form only: which schemes there are is for apprise to know."""
    urls = split_notify_urls(text)
    wrong = [str(number) for number, url in enumerate(urls, start=1) if not _NOTIFY_URL.fullmatch(url)]
    if wrong:
        raise ValueError(f"number {', '.join(wrong[:NAMED_MAX])} of {len(urls)} is no URL")
    if not urls:
        raise ValueError("it names none")
    return urls


def find_notify_secrets(url: str) -> list[str]:
    """What may be a key in a URL of apprise's, where a key can stand for the host as well."""
    _, _, rest = url.partition("://")
    userinfo = rest.rpartition("@")[0]
    words = [word for word in re.split(r"[/:@?&=#,]", rest) if len(word) >= KEY_LENGTH_MIN]
    return [text for text in (rest, *re.split(r"[/:]", userinfo), *words) if len(text) >= SECRET_LENGTH_MIN]


def parse_file_url(text: str) -> Path:
    name = text.removeprefix(FILE_SCHEME)
    if name == text or not name.isprintable() or not name or name.startswith(":"):
        raise ValueError("it names no file")
    path = Path(name)
    try:
        is_folder, is_placed = path.is_dir(), path.parent.is_dir()
    except OSError as error:
        raise ValueError(f"no file can be there: {error.strerror}") from None
    if is_folder:
        raise ValueError("it is a folder")
    if not is_placed:
        raise ValueError("the folder does not exist")
    return path


def check_is_url(text: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in schemes and bool(parse_host(parts.hostname or "")) and parts.port != 0
    except ValueError:
        return False
    return is_sound and text.isprintable() and " " not in text


def check_is_exposed(url: str) -> bool:
    """True where somebody on the way could read along: not encrypted, and beyond this machine."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "ws") and not check_is_local(parts.hostname or "")


def check_is_local(host: str) -> bool:
    """True for this machine."""
    return host == "localhost" or (_check_is_address(host) and ip_address(host).is_loopback)


def _check_is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def find_url_secrets(url: str) -> list[str]:
    """What may be a key in a URL: user name, password, long parts of the path, values of the query."""
    parts = urlsplit(url)
    words = [part for part in parts.path.split("/") if len(part) >= KEY_LENGTH_MIN]
    values = [value for _, value in parse_qsl(parts.query)]
    return [text for text in (parts.username, parts.password, build_basic(parts), *words, *values) if text]


def build_basic(parts: SplitResult) -> str:
    """User name and password as the Authorization header writes them; empty without."""
    if not parts.password:
        return ""
    return b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password)}".encode("utf-8", "replace")).decode()


def hide_userinfo(text: str) -> str:
    """A URL, or what was meant as one, without what stands between ``//`` and ``@``."""
    before, found, after = text.rpartition("@")
    return f"{before.partition('//')[0]}//...@{after}" if found else text


def hide_all_but_host(text: str) -> str:
    """A URL, or what was meant as one, without anything that may be a key."""
    scheme, found, rest = hide_userinfo(text).rpartition("//")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return f"{scheme}{found}{host}" if host == rest else f"{scheme}{found}{host}/..."
