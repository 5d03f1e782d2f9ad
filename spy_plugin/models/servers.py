"""Find a model's server and its key. A key is sent only to the server that it is meant for.

| key | goes to |
|---|---|
| what ``--key-variable NAME`` names, or a caller passes | the server that is asked |
| ``JUDGE_API_KEY``, for a judge | ``JUDGE_BASE_URL`` if set, else the judge's server |
| the registry's ``key_variable`` of a model | the registry's ``base_url`` of that model |
| ``OPENAI_API_KEY`` | OpenAI, and what ``OPENAI_BASE_URL`` names |

A server on this machine or network that none of these names gets no key.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from urllib.request import proxy_bypass

from spy_plugin.models.base import ModelSetupError
from spy_plugin.models.options import MODEL, ModelOptions, Role
from spy_plugin.models.redact import HIDDEN

if TYPE_CHECKING:
    from spy_plugin.registry.schema import ApiRun

NO_KEY = "none"
"""Sent to a server that needs no key."""

API_VERSION = "api-version"
"""Parameter of Azure's addresses."""

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"

_COMPLETIONS = "/chat/completions"
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Server:
    """An OpenAI-compatible server.

    Attributes:
        url: Its ``/v1``, without parameters; None for OpenAI's own.
        key: Never written anywhere.
        check: What to check if it refuses, for messages.
        query: Parameters of its address, sent along with each request.
    """

    url: str | None
    key: str = field(repr=False)
    check: str = f"{OPENAI_KEY}, --base-url, the model's name"
    query: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Azure, whose addresses name a version of the API, takes the key in a header of its own
        (https://learn.microsoft.com/azure/ai-services/openai/reference#authentication).
        """
        return {"api-key": self.key} if API_VERSION in self.query else {}

    @property
    def secrets(self) -> list[str]:
        """The key, and parameters of the address, which may hold another."""
        return [self.key, *(value for name, value in self.query.items() if name != API_VERSION)]

    @property
    def address(self) -> str:
        """The whole address without secrets, for records."""
        shown = {
            name: value if name == API_VERSION else HIDDEN for name, value in self.query.items()
        }
        query = urlencode(sorted(shown.items()), safe="*")
        return (self.url or OPENAI_URL).rstrip("/") + (f"?{query}" if query else "")


def find_server(
    model: str,
    options: ModelOptions | None = None,
    role: Role = MODEL,
    api: ApiRun | None = None,
) -> Server:
    """Address and key of the server that serves a model, from the arguments or the environment.

    Args:
        model: Its name, for messages.
        options: A given address comes first, then what the role's variable, the registry or
            OPENAI_BASE_URL says, then OpenAI's own.
        api: What the registry knows of the model's provider.

    Raises:
        ModelSetupError: there is no key, or the key or address is malformed.
    """
    chosen = options or ModelOptions()
    key_variable = chosen.key_variable
    if key_variable and not _VARIABLE.fullmatch(key_variable):
        # Not shown: it may be the key itself.
        raise ModelSetupError(
            "--key-variable takes the name of an environment variable that holds the key, and its "
            "value is not such a name. Set a variable to the key, and give its name."
        )
    proxy, role_url = (os.environ.get(name, "") for name in ("OPENAI_BASE_URL", role.url_variable))
    provider = api.base_url if api else ""
    url = (chosen.base_url or role_url or provider or proxy).strip() or None
    asked = _origin(url or OPENAI_URL, role)

    def is_asked(place: str) -> bool:
        return asked == _origin(place, role)

    variables = [key_variable] if key_variable else []
    if not key_variable:
        if role.key_variable and (not role_url or is_asked(role_url)):
            variables.append(role.key_variable)
        if api and is_asked(provider or OPENAI_URL):
            variables.append(api.key_variable)
        if is_asked(OPENAI_URL) or (proxy and is_asked(proxy)):
            variables.append(OPENAI_KEY)
    key = chosen.api_key or next(filter(None, map(os.environ.get, variables)), None)
    if key is None and not key_variable and _is_local(asked[1]):
        key = NO_KEY
    if key is None:
        raise ModelSetupError(_no_key(model, role, asked[1], variables))
    bare, query = _split_query(url)
    address = role.url_variable or "--base-url"
    if bare is not None and urlsplit(bare).path in ("", "/"):
        address += " (most end in /v1)"
    proxy_variable = _proxy_variable(*asked[:2])
    check = ", ".join([*variables[:1], address, *proxy_variable, "the model's name"])
    return Server(bare, _checked_key(key, role), check, query)


def _split_query(url: str | None) -> tuple[str | None, dict[str, str]]:
    """The address without its parameters and without the path of completions; and those.

    The openai package appends that path. Other programs want the whole address, VLMEvalKit's
    OPENAI_API_BASE among them, so it is what users have.
    """
    if url is None:
        return None, {}
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = parts.path.rstrip("/").removesuffix(_COMPLETIONS)
    path = path if path != parts.path.rstrip("/") else parts.path
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), query


def _proxy_variable(scheme: str, host: str) -> list[str]:
    """The variable with the proxy through which this host is asked, for messages; none for none."""
    if proxy_bypass(host):
        return []
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    found = [name for name in names if os.environ.get(name)]
    return [f"the proxy in {name} (NO_PROXY excepts hosts)" for name in found[:1]]


def _no_key(model: str, role: Role, host: str, variables: list[str]) -> str:
    found = " or ".join(dict.fromkeys(variables))
    own = f"set {role.url_variable}" if role.url_variable else "give --base-url"
    set_it = f"Set {found}, or name" if found else "Name"
    return (
        f"there is no key for the {role.name} {model} at {host}. {set_it} the variable that holds "
        f"it with --key-variable, or {own} for a server of your own (one on this machine or "
        f"network needs no key).{role.without_key}"
    )


def _origin(url: str, role: Role) -> tuple[str, str, int | None]:
    """Scheme, host and port of a base URL.

    Raises:
        ModelSetupError: it is not an http address, or holds a user name or password.
    """
    whose = f"the {role.name}'s base URL"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ModelSetupError(f"{whose} is not a valid URL ({error}). Fix it.") from error
    if parts.username or parts.password:
        raise ModelSetupError(
            f"{whose} holds a user name or password. Put the key into a variable and name that "
            "with --key-variable."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelSetupError(
            f"{whose} is not an http address. Give the whole URL, as in http://localhost:8000/v1."
        )
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme]


def _is_local(host: str) -> bool:
    """The host is this machine or on the same network, where servers usually need no key."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return address.is_loopback or address.is_private


def _checked_key(key: str, role: Role) -> str:
    """The key without blanks around it.

    Raises:
        ModelSetupError: it cannot be sent in a header.
    """
    key = key.strip()
    # Docker's --env-file, unlike a shell, keeps the quotes around a value.
    odd = not key.isascii() or not key.isprintable() or set(key) & {" ", '"', "'"}
    if not key or odd:
        # Caught here, because the HTTP library's own error would show the key.
        raise ModelSetupError(
            f"the {role.name}'s key is empty or holds a space, a quotation mark or an unusual "
            "character. Check it."
        )
    return key
