import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import IntegrityError
from overwinter.models.sparse_storage import pack_sparse, unpack_sparse

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.int32, torch.float8_e4m3fn]
ANY = 1 << 40  # bytes


def entry(tensor, levels):
    dtype = str(tensor.dtype).removeprefix("torch.")
    return {"shape": list(tensor.shape), "dtype": dtype, "packed": {"levels": levels}}


def there_and_back(tensor):
    """Pack and unpack; return the bytes that it took, or None if it stays dense."""
    packed = pack_sparse(tensor)
    if packed is None:
        return None
    stored, levels = packed
    found = unpack_sparse("weight", stored, entry(tensor, levels), most_bytes=ANY)
    assert found.dtype == tensor.dtype
    assert found.shape == tensor.shape
    assert as_bytes(found) == as_bytes(tensor)
    return stored.nbytes


def as_bytes(tensor):
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def sparse(shape, dtype, density, seed=0):
    """Any bits, NaN and -0.0 among them, where an element is kept."""
    generator = torch.Generator().manual_seed(seed)
    count = math.prod(shape)
    bits = torch.randint(0, 256, (count, dtype.itemsize), dtype=torch.uint8, generator=generator)
    bits[torch.rand(count, generator=generator) >= density] = 0
    return bits.reshape(-1).view(dtype).reshape(shape)


@given(
    st.lists(st.integers(0, 40), min_size=0, max_size=3),
    st.sampled_from(DTYPES),
    st.floats(0, 1),
    st.integers(0, 2**20),
)
def test_every_bit_comes_back(shape, dtype, density, seed):
    tensor = sparse(shape, dtype, density, seed)
    size = there_and_back(tensor)
    assert size is None or size < tensor.nbytes


def test_elements_across_many_chunks_come_back():
    tensor = sparse((3, 70_001), torch.float32, 0.2)
    assert there_and_back(tensor) == pytest.approx(tensor.nbytes * (1 / 32 + 0.2), rel=0.01)


def test_negative_zero_and_the_payload_of_a_nan_are_values():
    tensor = torch.zeros(64)
    tensor[3] = -0.0
    tensor.view(torch.int32)[9] = 0x7FC12345
    assert there_and_back(tensor) == 64 // 8 // 8 + 2 + 2 * 4  # a bitmap of 8 bytes, of which 2 are not empty


@pytest.mark.parametrize("tensor", [torch.empty(0, 5), torch.ones(8, 8), torch.ones(3, dtype=torch.bool)])
def test_what_would_not_be_smaller_stays_dense(tensor):
    assert pack_sparse(tensor) is None


def test_all_zeros_take_almost_nothing():
    assert there_and_back(torch.zeros(64, 64)) == 64 * 64 // 64


def test_empty_rows_make_the_bitmap_smaller_too():
    tensor = sparse((64, 64), torch.uint8, 0.9)
    tensor[8:] = 0
    stored, levels = pack_sparse(tensor)
    assert levels == 2
    assert stored.nbytes < tensor.count_nonzero() + 64 * 64 // 8
    there_and_back(tensor)


@pytest.fixture
def packed():
    tensor = sparse((5, 7), torch.float32, 0.3)
    stored, levels = pack_sparse(tensor)
    assert levels == 1
    return stored, entry(tensor, levels)


HOSTILE = [
    ({"shape": [1 << 30, 1 << 30]}, "it would take"),
    ({"shape": [1 << 20, 1 << 10]}, r"a bitmap of 1073741824 elements has 134217728 bytes, and \d+ are stored"),
    ({"shape": [5, 6]}, "marks values beyond its 30 elements"),
    ({"shape": [4, 8]}, r"its bitmap marks 14 values of 4 bytes, and 61 bytes follow"),
    ({"shape": [-5, -7]}, r"its shape is \[-5, -7\]"),
    ({"shape": [5.0, 7]}, r"its shape is \[5.0, 7\]"),
    ({"shape": "57"}, "its shape is '57'"),
    ({"dtype": "float16"}, "values of 2 bytes"),
    ({"dtype": "float64"}, "values of 8 bytes"),
    ({"dtype": "complex64"}, "its data type 'complex64' is never packed"),
    ({"dtype": "nn"}, "its data type 'nn' is never packed"),
    ({"packed": {"levels": 2}}, ""),
    ({"packed": {"levels": 3}}, "its bitmap has 3 levels"),
    ({"packed": {"levels": True}}, "its bitmap has True levels"),
    ({"packed": None}, "its bitmap has None levels"),
]


@pytest.mark.parametrize(("lie", "reason"), HOSTILE)
def test_an_entry_that_lies_is_refused(packed, lie, reason):
    stored, honest = packed
    with pytest.raises(IntegrityError, match=f"The packed tensor weight cannot be unpacked: .*{reason}"):
        unpack_sparse("weight", stored, honest | lie, most_bytes=1 << 40)


def test_bits_beyond_the_last_element_are_refused(packed):
    stored, honest = packed
    stored[4] |= 1 << 7  # 35 elements: the fifth byte has three
    with pytest.raises(IntegrityError, match="marks values beyond its 35 elements"):
        unpack_sparse("weight", stored, honest, most_bytes=ANY)


def test_a_bitmap_that_does_not_match_the_values_is_refused(packed):
    stored, honest = packed
    stored[0] ^= 1
    with pytest.raises(IntegrityError, match=r"its bitmap marks \d+ values of 4 bytes, and \d+ bytes follow"):
        unpack_sparse("weight", stored, honest, most_bytes=ANY)


@pytest.mark.parametrize("other", [torch.zeros(9, 2, dtype=torch.uint8), torch.zeros(9)])
def test_what_is_no_vector_of_bytes_is_refused(packed, other):
    with pytest.raises(IntegrityError, match="not as bytes"):
        unpack_sparse("weight", other, packed[1], most_bytes=ANY)


@given(
    st.integers(0, 200), st.integers(0, 200), st.binary(max_size=64), st.sampled_from(DTYPES), st.sampled_from([1, 2])
)
def test_any_bytes_are_unpacked_or_refused(rows, columns, content, dtype, levels):
    tensor = torch.empty(rows, columns, dtype=dtype, device="meta")
    stored = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
    try:
        found = unpack_sparse("weight", stored, entry(tensor, levels), most_bytes=ANY)
    except IntegrityError:
        return
    assert found.shape == tensor.shape
