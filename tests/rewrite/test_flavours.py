"""The selection of flavours is what it says."""

from __future__ import annotations

import itertools

from rewrite.flavours import FACTORS, RULES, covering_cells, pairs, possible, some_cells


def test_every_pair_of_values_that_can_exist_occurs() -> None:
    occurring = set().union(*map(pairs, covering_cells()))
    for (a, first), (b, second) in itertools.combinations(FACTORS.items(), 2):
        for x, y in itertools.product(first, second):
            assert ((a, x), (b, y)) in occurring or not possible({a: x, b: y})


def test_only_what_can_exist_is_selected() -> None:
    assert all(possible(cell) and set(cell) == set(FACTORS) for cell in covering_cells())


def test_every_rule_excludes_something_that_no_other_rule_does() -> None:
    for rule in RULES:
        others = [other for other in RULES if other is not rule]
        values = itertools.product(*(FACTORS[factor] for factor in rule.factors))
        alone = [cell for choice in values if rule.forbids(cell := dict(zip(rule.factors, choice, strict=True)))]
        assert any(possible(cell, others) for cell in alone), rule.reason


def test_drawn_cells_are_the_same_for_the_same_seed() -> None:
    assert some_cells(3, 1) == some_cells(3, 1) != some_cells(3, 2)
