"""What belongs to the tenant itself, over HTTP: settings, preferences, alerts and callbacks."""

from aiohttp import web

from serve.api.answers import (
    AlertResponse,
    AlertsResponse,
    EventResponse,
    EventsResponse,
    PreferencesResponse,
    TenantResponse,
    answered,
)
from serve.api.call import Call
from serve.api.wire import (
    AlertParameters,
    AlertsParameters,
    Empty,
    EventParameters,
    PageParameters,
)
from serve.domain.alert import AlertPatch
from serve.domain.tenancy.preferences import PreferencesPatch
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows import alerts, events, preferences, tenants


async def read_tenant(call: Call[Empty, Empty]) -> web.Response:
    """Shows the tenant's settings in the key's world."""
    return answered(TenantResponse.of(await tenants.settings(call.deps, call.tenant)))


async def change_tenant(call: Call[TenantPatch, Empty]) -> web.Response:
    """Changes the settings given."""
    changed = await tenants.change_own_settings(call.deps, call.tenant, call.body, call.operation)
    return answered(TenantResponse.of(changed))


async def read_preferences(call: Call[Empty, Empty]) -> web.Response:
    """Shows the preferences of the key's world."""
    return answered(PreferencesResponse.of(await preferences.read(call.deps, call.tenant)))


async def change_preferences(call: Call[PreferencesPatch, Empty]) -> web.Response:
    """Changes the preferences given; a rule given replaces its event's whole rule."""
    changed = await preferences.change(call.deps, call.tenant, call.body, call.operation)
    return answered(PreferencesResponse.of(changed))


async def list_alerts(call: Call[Empty, AlertsParameters]) -> web.Response:
    """Lists alerts."""
    asked = call.parameters
    page = await alerts.page(call.deps, call.tenant, asked.status, asked.cursor, asked.limit)
    return answered(AlertsResponse.of(page, asked.alert_type))


async def read_alert(call: Call[Empty, AlertParameters]) -> web.Response:
    """Shows an alert."""
    found = await alerts.alert(call.deps, call.tenant, call.parameters.alert_id)
    return answered(AlertResponse.of(found))


async def change_alert(call: Call[AlertPatch, AlertParameters]) -> web.Response:
    """Changes an alert's type or status."""
    changed = await alerts.change(
        call.deps, call.tenant, call.parameters.alert_id, call.body, call.operation
    )
    return answered(AlertResponse.of(changed))


async def list_events(call: Call[Empty, PageParameters]) -> web.Response:
    """Lists callbacks."""
    asked = call.parameters
    page = await events.page(call.deps, call.tenant, asked.cursor, asked.limit)
    return answered(EventsResponse.of(page))


async def read_event(call: Call[Empty, EventParameters]) -> web.Response:
    """Shows a callback with its attempts."""
    found = await events.event(call.deps, call.tenant, call.parameters.event_id)
    return answered(EventResponse.of(found))


async def resend_event(call: Call[Empty, EventParameters]) -> web.Response:
    """Makes a callback due now, whatever became of it."""
    asked = call.parameters
    found = await events.resend(call.deps, call.tenant, asked.event_id, call.operation)
    return answered(EventResponse.of(found))
