"""Credentials in a request's head, and the codes that follow from a route's shape."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from serve.api.call import Route, agreed_token, api_key, session_token
from serve.api.problem import InputInvalid
from serve.api.routes import ROUTES
from serve.api.wire import Empty, SubmitBody, TokenParameters
from serve.errors import STATUSES, Code, ServeError


def with_headers(**headers: str) -> web.Request:
    return make_mocked_request(
        "GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"Authorization": "Bearer sk_1"}, "sk_1"),
        ({"Authorization": "bearer  sk_1 "}, "sk_1"),
        ({"X_API_Key": " sk_2 "}, "sk_2"),
        ({"Authorization": "Bearer sk_1", "X_API_Key": "sk_2"}, "sk_1"),
        ({"Authorization": "Basic c2tfMQ==", "X_API_Key": "sk_2"}, "sk_2"),
    ],
)
def test_a_key_is_found(headers: dict[str, str], key: str) -> None:
    """In `Authorization: Bearer` first, then in `X-API-Key`."""
    assert api_key(with_headers(**headers)) == key


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}])
def test_no_key_is_refused(headers: dict[str, str]) -> None:
    """Nothing, another scheme, and an empty one."""
    with pytest.raises(ServeError) as caught:
        api_key(with_headers(**headers))
    assert caught.value.code is Code.KEY_INVALID


def test_a_session_token_is_found() -> None:
    """In the path or query first, then in the head; an API key there is passed over."""
    head = with_headers(Authorization="Bearer st_head")
    assert session_token(head, TokenParameters(token="st_path")) == "st_path"  # noqa: S106
    assert session_token(head, Empty()) == "st_head"
    assert session_token(with_headers(Authorization="Bearer sk_1"), Empty()) == ""


def test_one_request_has_one_token() -> None:
    """Head and body may both name it, and must not differ; one of them must."""
    same = SubmitBody(token="st_1", proof="x")  # noqa: S106
    none = SubmitBody(proof="x")
    assert agreed_token("st_1", same) == agreed_token("", same) == agreed_token("st_1", none)
    for token, body in (("st_2", same), ("", none)):
        with pytest.raises(InputInvalid):
            agreed_token(token, body)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_code_of_a_route_has_a_status(route: Route[Any, Any]) -> None:
    """What a route says it refuses with can leave the front door."""
    assert route.codes <= set(STATUSES)
