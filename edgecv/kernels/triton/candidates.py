"""From the scores of a head to its candidates, best first: the first half of `edge_nms`.

A candidate is a pair (box, class) with score > threshold; NaN is none. It is kept as a 64-bit key
that orders as candidates do: the score's bits, made to order as integers do, then the complement of
the pair's index, so that of equal scores the lower box comes first, then the lower class. No two
keys are equal. Which place an atomic counter gives to a key is left to chance, therefore, but not
what the keys sort to.

Three kernels follow each other without the host. `_collect_kernel` appends the keys of the
candidates. Where an image has more of them than there is room for, `_select_kernel` replaces them
by the best ones; elsewhere it ends at once. `_rank_kernel` moves each key to the place that is the
number of better keys. That takes a comparison of every pair of keys, but no memory shared between
threads and no more than there are keys: next to nothing for the hundreds that a detector leaves.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

# Bounds the time of suppression when the threshold lets nearly everything pass, as it does when mAP
# is measured; kernels/common/candidates.h has the same number.
MAX_CANDIDATES = 30000

_NO_KEY = tl.constexpr(-(2**63))  # below the key of every score
_TILE = 2048  # scores of a program: 16 a thread, loaded before the first of them is used
_MAX_CLASS_BLOCK = 32  # 64 bytes of half floats, two sectors of memory
# One program selects for an image: as many loads under way as it can have.
_SELECT_WARPS, _SELECT_TILES = 16, 4
_RANK_BLOCK, _RANK_TILE = 64, 32  # 16 comparisons a thread and turn, in registers


def ranked_candidates(
    scores: Tensor, score_threshold: Tensor, *, class_agnostic: bool, background_class: int
) -> tuple[Tensor, Tensor]:
    """Return the keys of the best candidates of every image, best first, and their number.

    Args:
        scores: (B, N, C) float32 or float16, any strides.
        score_threshold: 1 float32 on the device of `scores`.
        class_agnostic: only the best class of each box takes part.
        background_class: takes no part; -1 for none.

    Returns:
        (B, M) int64, the rest of each row arbitrary, and (B,) int32, which may exceed M: then there
        were more candidates, and the row is full.

    """
    batch, num_boxes, num_classes = scores.shape
    most = num_boxes if class_agnostic else num_boxes * num_classes
    capacity = min(MAX_CANDIDATES, most)
    count = torch.zeros(batch, dtype=torch.int32, device=scores.device)
    keys, ranked = (
        torch.empty((batch, capacity), dtype=torch.int64, device=scores.device) for _ in range(2)
    )
    if num_boxes * num_classes == 0:
        return ranked, count

    class_block = min(triton.next_power_of_2(num_classes), _MAX_CLASS_BLOCK)
    class_blocks = 1 if class_agnostic else triton.cdiv(num_classes, class_block)
    box_block = _TILE // class_block
    head = (scores, *scores.stride(), num_boxes, num_classes, score_threshold, background_class)
    _collect_kernel[triton.cdiv(num_boxes, box_block) * class_blocks, batch](
        *head, keys, count, capacity, box_block, class_block, class_agnostic
    )
    if most > capacity:
        box_block *= _SELECT_TILES
        num_tiles = triton.cdiv(num_boxes, box_block) * class_blocks
        _select_kernel[(batch,)](
            *head, keys, count, capacity, num_tiles, box_block, class_block, class_agnostic,
            num_warps=_SELECT_WARPS,
        )  # fmt: skip
    _rank_kernel[triton.cdiv(capacity, _RANK_BLOCK), batch](
        keys, count, ranked, capacity, _RANK_BLOCK, _RANK_TILE
    )
    return ranked, count


@triton.jit
def pair_of(key):
    """Return the index box * C + class of a key."""
    return (~key) & 0xFFFFFFFF


@triton.jit
def score_of(key):
    """Return the score of a key, exactly, but for a zero's sign."""
    return _flipped((key >> 32).to(tl.int32)).to(tl.float32, bitcast=True)


@triton.jit
def _flipped(bits):
    """Make the bits of floats order as integers do, or undo it: negative ones fall as bits rise."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _block_of_keys(
    scores_ptr, box_stride, class_stride, num_boxes, num_classes, threshold, background,
    first_box, first_class, BOXES: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Return the (BOXES, CLASSES) keys of a block of one image's scores."""
    box = (first_box + tl.arange(0, BOXES))[:, None]
    class_id = (first_class + tl.arange(0, CLASSES))[None, :]
    exists = (box < num_boxes) & (class_id < num_classes)
    # int64: a row may lie 2**31 elements from the first.
    offset = box.to(tl.int64) * box_stride + class_id.to(tl.int64) * class_stride
    score = tl.load(scores_ptr + offset, mask=exists, other=0.0).to(tl.float32)
    takes_part = exists & (score > threshold) & (class_id != background)
    ordered = _flipped((score + 0.0).to(tl.int32, bitcast=True))  # -0 becomes 0
    pair = (box * num_classes + class_id).to(tl.int64)
    key = (ordered.to(tl.int64) << 32) | (0xFFFFFFFF - pair)
    return tl.where(takes_part, key, _NO_KEY)


@triton.jit
def _tile_of_keys(
    scores_ptr, box_stride, class_stride, num_boxes, num_classes, threshold, background,
    tile, BOXES: tl.constexpr, CLASSES: tl.constexpr, AGNOSTIC: tl.constexpr,
):  # fmt: skip
    """Return the keys of a tile of one image, a vector: of its pairs, or of each box's best one."""
    if AGNOSTIC:
        # The greatest key of a box is that of its best class, and of equals the lowest.
        keys = tl.full((BOXES,), _NO_KEY, tl.int64)
        for first_class in range(0, num_classes, CLASSES):
            block = _block_of_keys(
                scores_ptr, box_stride, class_stride, num_boxes, num_classes, threshold, background,
                tile * BOXES, first_class, BOXES, CLASSES,
            )  # fmt: skip
            keys = tl.maximum(keys, tl.max(block, axis=1))
    else:
        class_blocks = tl.cdiv(num_classes, CLASSES)
        block = _block_of_keys(
            scores_ptr, box_stride, class_stride, num_boxes, num_classes, threshold, background,
            tile // class_blocks * BOXES, tile % class_blocks * CLASSES, BOXES, CLASSES,
        )  # fmt: skip
        keys = tl.reshape(block, (BOXES * CLASSES,), can_reorder=True)
    return keys


# Of the numbers, strides and classes are worth another kernel: they tell which scores a thread can
# load together.
@triton.jit(do_not_specialize=["num_boxes", "background", "capacity"])
def _collect_kernel(
    scores_ptr, image_stride, box_stride, class_stride, num_boxes, num_classes,
    score_threshold_ptr, background, keys_ptr, count_ptr, capacity,
    BOXES: tl.constexpr, CLASSES: tl.constexpr, AGNOSTIC: tl.constexpr,
):  # fmt: skip
    """Append the keys of one tile of one image's scores; count those without room as well."""
    image = tl.program_id(1).to(tl.int64)
    keys = _tile_of_keys(
        scores_ptr + image * image_stride, box_stride, class_stride, num_boxes, num_classes,
        tl.load(score_threshold_ptr), background, tl.program_id(0), BOXES, CLASSES, AGNOSTIC,
    )  # fmt: skip
    is_key = keys != _NO_KEY
    found = tl.sum(is_key.to(tl.int32))
    if found > 0:  # few tiles have a candidate: the others pay neither for a scan nor an atomic
        first = tl.atomic_add(count_ptr + image, found, sem="relaxed")
        place = first + tl.cumsum(is_key.to(tl.int32)) - 1
        tl.store(keys_ptr + image * capacity + place, keys, mask=is_key & (place < capacity))


@triton.jit
def _unsigned(keys):
    """Return keys as unsigned integers of the same order."""
    return keys.to(tl.uint64, bitcast=True) ^ (1 << 63)


@triton.jit(do_not_specialize=["num_boxes", "num_classes", "background", "capacity", "num_tiles"])
def _select_kernel(
    scores_ptr, image_stride, box_stride, class_stride, num_boxes, num_classes,
    score_threshold_ptr, background, keys_ptr, count_ptr, capacity, num_tiles,
    BOXES: tl.constexpr, CLASSES: tl.constexpr, AGNOSTIC: tl.constexpr,
):  # fmt: skip
    """Write the `capacity` best keys of one image, if it has more: a radix selection.

    Digit by digit of 8 bits from the highest, the least key that has room, the cut, is narrowed
    down. It ends with the digit after which all keys that begin alike have room.
    """
    image = tl.program_id(0).to(tl.int64)
    if tl.load(count_ptr + image) <= capacity:
        return
    scores_ptr += image * image_stride
    keys_ptr += image * capacity
    threshold = tl.load(score_threshold_ptr)

    digit = tl.arange(0, 256)
    cut = tl.zeros((), tl.uint64)  # its digits so far
    room = capacity  # for keys that begin like the cut
    shift = 64
    members = capacity + 1  # keys that begin like the cut: more than there is room for
    while members > room:
        shift -= 8
        histogram = tl.zeros((256,), tl.int32)
        for tile in range(num_tiles):
            keys = _tile_of_keys(
                scores_ptr, box_stride, class_stride, num_boxes, num_classes, threshold, background,
                tile, BOXES, CLASSES, AGNOSTIC,
            )  # fmt: skip
            digits = _unsigned(keys) >> shift
            begins_alike = (keys != _NO_KEY) & ((digits >> 8) == cut)
            histogram += tl.histogram((digits & 255).to(tl.int32), 256, mask=begins_alike)
        at_least = tl.cumsum(histogram, reverse=True)  # keys with this digit or a greater one
        chosen = tl.sum((at_least >= room).to(tl.int32)) - 1
        members = tl.sum(tl.where(digit == chosen, histogram, 0))
        room -= tl.sum(tl.where(digit == chosen, at_least, 0)) - members
        cut = (cut << 8) | chosen.to(tl.uint64)

    place = 0
    for tile in range(num_tiles):
        keys = _tile_of_keys(
            scores_ptr, box_stride, class_stride, num_boxes, num_classes, threshold, background,
            tile, BOXES, CLASSES, AGNOSTIC,
        )  # fmt: skip
        is_chosen = (keys != _NO_KEY) & ((_unsigned(keys) >> shift) >= cut)
        step = tl.cumsum(is_chosen.to(tl.int32))
        tl.store(keys_ptr + place + step - 1, keys, mask=is_chosen)
        place += tl.sum(is_chosen.to(tl.int32))


@triton.jit(do_not_specialize=["capacity"])
def _rank_kernel(
    keys_ptr, count_ptr, ranked_ptr, capacity, BLOCK: tl.constexpr, TILE: tl.constexpr
):
    """Move each key of a block to the place that is the number of greater keys of its image."""
    image = tl.program_id(1).to(tl.int64)
    count = tl.minimum(tl.load(count_ptr + image), capacity)
    first = tl.program_id(0) * BLOCK
    if first >= count:
        return
    keys_ptr += image * capacity
    place = first + tl.arange(0, BLOCK)
    key = tl.load(keys_ptr + place, mask=place < count, other=_NO_KEY)
    # Summed across threads once, at the end.
    is_greater = tl.zeros((BLOCK, TILE), tl.int32)
    for start in range(0, count, TILE):
        other = start + tl.arange(0, TILE)
        rival = tl.load(keys_ptr + other, mask=other < count, other=_NO_KEY)
        is_greater += (rival[None, :] > key[:, None]).to(tl.int32)
    rank = tl.sum(is_greater, axis=1)
    tl.store(ranked_ptr + image * capacity + rank, key, mask=place < count)
