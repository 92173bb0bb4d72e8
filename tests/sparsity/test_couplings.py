import torch

from overwinter.sparsity.couplings import Couplings, aligned, compact, varying


def together(couplings, *labels):
    numbers, reasons = couplings.components()
    return [numbers[each].tolist() for each in labels], reasons


def test_labels_are_kept_without_the_dimensions_along_which_they_do_not_change():
    labels = torch.tensor([1, 2, 3])[None, :, None].expand(4, 3, 5)
    assert compact(labels).shape == (1, 3, 1)
    assert compact(labels.contiguous()).shape == (1, 3, 1)
    assert varying(compact(labels)) == {1}
    assert aligned(torch.tensor([1, 2]), 3).shape == (1, 1, 2)


def test_what_meets_goes_together_and_the_rest_apart():
    couplings = Couplings()
    one, other = couplings.fresh(3), couplings.fresh(3)
    couplings.couple(one, other, "met")
    (first, second), reasons = together(couplings, one, other)
    assert first == second
    assert len(set(first)) == 3
    assert not set(first) & set(reasons)


def test_what_meets_nothing_known_stays_with_all_that_belongs_to_it():
    couplings = Couplings()
    one, other = couplings.fresh(2), couplings.fresh(2)
    couplings.couple(one, other, "")
    couplings.couple(other, torch.tensor([0, int(other[1])]), "met a number")
    (first, _), reasons = together(couplings, one, other)
    assert reasons.get(first[0]) == "met a number"
    assert first[1] not in reasons


def test_what_lies_along_a_dimension_is_made_one():
    couplings = Couplings()
    labels = couplings.fresh(6).view(2, 3)
    kept = couplings.collapse(labels, [1], "mixed")
    assert kept.shape == (2, 1)
    (numbers,), _ = together(couplings, labels)
    assert [len(set(row)) for row in numbers] == [1, 1]
    assert numbers[0] != numbers[1]


def test_what_nothing_else_tells_apart_stays():
    couplings = Couplings()
    labels = couplings.fresh(3).view(1, 3)
    assert couplings.collapse(labels, [1], "mixed") is None
    (numbers,), reasons = together(couplings, labels.flatten())
    assert {reasons[number] for number in numbers} == {"mixed"}


def test_labels_along_different_dimensions_stay():
    couplings = Couplings()
    rows, columns = couplings.fresh(2).view(2, 1), couplings.fresh(3).view(1, 3)
    assert couplings.join(rows, columns, "crossed") is None
    (first, second), reasons = together(couplings, rows.flatten(), columns.flatten())
    assert {reasons[number] for number in first + second} == {"crossed"}
