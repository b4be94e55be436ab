"""The table of routes: the contract's paths, each once."""

from pydantic import BaseModel

from serve.api.routes import ROUTES
from serve.api.wire import Parameters
from serve.domain.quota import Quota

# Method, path, scope; "" is public. Written out, because clients have it written out as well.
CONTRACT = """
POST   /api/v1/kyc/face/session                        sessions
POST   /api/v1/kyc/face/submit
GET    /api/v1/kyc/face/verify/{token}
GET    /api/v1/kyc/session/{token}
GET    /api/v1/kyc/session
PUT    /api/v1/kyc/session/connect
GET    /api/v1/kyc/preferences                         preferences
PATCH  /api/v1/kyc/preferences                         preferences
GET    /api/v1/kyc/alerts                              alerts
GET    /api/v1/kyc/alerts/{alert_id}                   alerts
PATCH  /api/v1/kyc/alerts/{alert_id}                   alerts
GET    /api/v1/kyc/status                              customers
GET    /api/v1/kyc/overview                            sessions
GET    /api/v1/kyc/face/sessions                       sessions
GET    /api/v1/kyc/face/sessions/{session_id}          sessions
POST   /api/v1/kyc/face/sessions/{session_id}/cancel   sessions
POST   /api/v1/kyc/face/sessions/{session_id}/review   sessions
POST   /api/v1/customers/{customer_id}/faces           customers
DELETE /api/v1/customers/{customer_id}                 customers
GET    /api/v1/erasures/{erasure_id}                   customers
POST   /api/v1/verifications                           customers
GET    /api/v1/verifications                           customers
GET    /api/v1/verifications/{verification_id}         customers
POST   /api/v1/verifications/{verification_id}/review  customers
POST   /api/v1/customers/{customer_id}/identity-token  customers
POST   /api/v1/reverify                                customers
GET    /api/v1/tenant                                  tenant
PATCH  /api/v1/tenant                                  tenant
GET    /api/v1/audit                                   audit
POST   /api/v1/face-search                             search
GET    /api/v1/verifications/{verification_id}/duplicates search
PATCH  /api/v1/verifications/{verification_id}/duplicates/{flag_id} search
POST   /api/v1/blocklist                               blocklist
GET    /api/v1/blocklist                               blocklist
GET    /api/v1/blocklist/{block_id}                    blocklist
DELETE /api/v1/blocklist/{block_id}                    blocklist
POST   /api/v1/kyc/face/challenge
POST   /api/v1/active-liveness                         liveness
POST   /api/v1/age-estimate                            liveness
POST   /api/v1/sweeps                                  sweeps
GET    /api/v1/sweeps                                  sweeps
GET    /api/v1/sweeps/{sweep_id}                       sweeps
POST   /api/v1/sweeps/{sweep_id}/cancel                sweeps
GET    /api/v1/sweeps/{sweep_id}/pairs                 sweeps
GET    /api/v1/sweeps/{sweep_id}/rings                 sweeps
GET    /api/v1/rings                                   sweeps
GET    /api/v1/rings/{ring_id}                         sweeps
GET    /api/v1/calibration                             sweeps
GET    /api/v1/events                                  events
GET    /api/v1/events/{event_id}                       events
POST   /api/v1/events/{event_id}/resend                events
"""


def test_the_table_is_the_contract() -> None:
    """Exactly these methods, paths and scopes."""
    wanted = {tuple(line.split()) for line in CONTRACT.strip().splitlines()}
    found = {(item.method, item.path, *([item.scope] if item.scope else [])) for item in ROUTES}
    assert found == wanted
    assert len(ROUTES) == len(wanted)


def test_names_are_unique_and_summaries_are_sentences() -> None:
    """Each row can be told from the others and explains itself."""
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert all(route.summary.endswith((".", "?")) for route in ROUTES)


CLASSES = {
    "open_session": Quota.OPEN,
    "submit_capture": Quota.SUBMIT,
    "enrol": Quota.ENROL,
    "block_face": Quota.ENROL,
    "search_face": Quota.SEARCH,
    "repeat_verification": Quota.SEARCH,
    "check_liveness": Quota.LIVENESS,
    "estimate_age": Quota.LIVENESS,
}


def test_every_route_is_counted_in_one_class() -> None:
    """What opens, submits and enrols apart; public routes as phones; the rest by what it does."""
    for route in ROUTES:
        usual = Quota.READ if route.method == "GET" else Quota.WRITE
        usual = Quota.PHONE if route.scope is None else usual
        assert route.quota is CLASSES.get(route.name, usual), route.name
    assert {route.quota for route in ROUTES} == set(Quota)


def test_every_place_in_a_path_is_checked() -> None:
    """The model of the parameters names what the path holds."""
    for route in ROUTES:
        model: type[Parameters] = route.parameters
        assert set(route.path_names) <= set(model.model_fields), route.path


def test_only_routes_with_images_take_large_bodies() -> None:
    """An image is in the body exactly where the limit is high."""
    for route in ROUTES:
        body: type[BaseModel] = route.body
        images = {"proof", "image", "selfie", "frames"} & set(body.model_fields)
        assert route.has_image == bool(images), route.path
