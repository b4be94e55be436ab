"""Whether a request may be carried out now: its tenant's quota, and how long images wait."""

from serve.deps import Deps
from serve.domain.ids import Mode
from serve.domain.quota import (
    FACTOR_MAX,
    FACTOR_MIN,
    Asked,
    Cause,
    Quota,
    Standing,
    is_shed,
    shed_retry_after_s,
)
from serve.errors import Code, ServeError


async def take(
    deps: Deps, tenant_id: str, mode: Mode, quota: Quota, lease: str = ""
) -> tuple[Standing, Cause | None]:
    """How the tenant stands after one more request of this class, and why it is refused, if so.

    With a `lease` of that name the request counts as under way until it is given back.
    """
    rule = deps.quota_policy.rule(quota, mode)
    taken, step_us = await deps.quotas.take(Asked(tenant_id, mode, quota, lease), rule)
    return Standing(quota, rule.bucket.paced(step_us), taken.ahead_us), taken.refused


def check_wait(deps: Deps, tenant_id: str, mode: Mode, quota: Quota) -> None:
    """Raises `overloaded` for what is refused while images wait as long as they do now."""
    wait_s = deps.faces.wait_s(tenant_id)
    if is_shed(quota, mode, wait_s, deps.quota_policy.timeout_s):
        raise ServeError(
            Code.OVERLOADED,
            f"an image would wait for {wait_s:.0f} s",
            retry_after_s=shed_retry_after_s(wait_s),
        )


async def change_factor(deps: Deps, tenant_id: str, factor: float) -> None:
    """Let a tenant ask for so many times what the settings say. Raises `field_invalid`."""
    if not FACTOR_MIN <= factor <= FACTOR_MAX:
        raise ServeError(
            Code.FIELD_INVALID, f"a quota factor is from {FACTOR_MIN:g} to {FACTOR_MAX:g}"
        )
    await deps.quotas.put_factor(tenant_id, factor)
