"""Rings out of all that is known at once."""

from index.rings.edges import Evidence, Grown, Rules
from index.rings.keep import Keeper


def grow(evidence: Evidence, rules: Rules) -> Grown:
    """The rings of some evidence: the same whatever order it comes in.

    Strong ties join by themselves two customers, or a third to two; into larger groups a tie
    joins where half of the pairs between the two are tied, and a third customer or a second
    signal supports it. No ring holds two who are apart, and none holds a hub.
    """
    return Keeper.of(evidence, rules).grown()
