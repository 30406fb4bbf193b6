/* Reads edgecv's shared-memory ring from C or C++; the layout is in ring_layout.py beside this file.
 *
 *     edgecv_ring ring;
 *     if (edgecv_ring_open(&ring, "/dev/shm/edgecv.camera")) ...
 *     void *copy = malloc(ring.slot_bytes);
 *     uint64_t next = edgecv_ring_num_records(&ring);
 *     ... each time: if (edgecv_ring_read(&ring, next, copy) == 0) { next++; use copy; }
 *
 * Link with -lrt where shm_open needs it; this header opens the file by its path. Needs C11.
 */
#ifndef EDGECV_RING_H
#define EDGECV_RING_H

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EDGECV_RING_VERSION 1
#define EDGECV_RING_NO_PTS INT64_MIN

typedef struct {
  char magic[8];
  uint32_t version, num_slots;
  uint64_t slot_bytes, num_records;
  uint32_t is_closed, pid;
  uint8_t zeros[24];
} edgecv_ring_header;

typedef struct {
  uint64_t sequence;
  int64_t captured_ns, captured_unix_ns, pts_ns;
  uint64_t index;
  uint32_t width, height;
  char format[4];
  uint32_t matrix, is_full_range, json_bytes;
  uint64_t pixels_bytes;
  uint8_t zeros[56];
} edgecv_ring_slot;

typedef struct {
  const edgecv_ring_header *header;
  uint64_t slot_bytes;
  uint32_t num_slots;
  size_t num_bytes;
} edgecv_ring;

/* Maps a ring; 0, or -1 where there is none or one of another version. */
static inline int edgecv_ring_open(edgecv_ring *ring, const char *path) {
  struct stat status;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  void *memory = MAP_FAILED;
  if (fstat(file, &status) == 0 && (size_t)status.st_size >= sizeof(edgecv_ring_header))
    memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return -1;
  ring->header = (const edgecv_ring_header *)memory;
  ring->num_bytes = (size_t)status.st_size;
  ring->slot_bytes = ring->header->slot_bytes;
  ring->num_slots = ring->header->num_slots;
  if (memcmp(ring->header->magic, "EDGECVRG", 8) != 0 ||
      ring->header->version != EDGECV_RING_VERSION) {
    munmap(memory, ring->num_bytes);
    return -1;
  }
  return 0;
}

static inline void edgecv_ring_close(edgecv_ring *ring) {
  munmap((void *)(uintptr_t)ring->header, ring->num_bytes);
}

/* Records written since the ring was made: the newest has this number less one. */
static inline uint64_t edgecv_ring_num_records(const edgecv_ring *ring) {
  return __atomic_load_n(&ring->header->num_records, __ATOMIC_ACQUIRE);
}

/* Whether the writer has ended: open the ring again for what its successor writes. */
static inline int edgecv_ring_is_closed(const edgecv_ring *ring) {
  return __atomic_load_n(&ring->header->is_closed, __ATOMIC_ACQUIRE) != 0;
}

/* Copies record `number` to `copy`, which has room for ring->slot_bytes and is an edgecv_ring_slot,
 * then JSON, then pixels. 0, or -1 where it is not there: not yet, or not any more. */
static inline int edgecv_ring_read(const edgecv_ring *ring, uint64_t number, void *copy) {
  const uint8_t *slot = (const uint8_t *)(ring->header + 1) +
                        (size_t)(number % ring->num_slots) * ring->slot_bytes;
  const uint64_t *sequence = (const uint64_t *)(const void *)slot;
  const uint64_t whole = 2 * number + 2;
  if (__atomic_load_n(sequence, __ATOMIC_ACQUIRE) != whole) return -1;
  memcpy(copy, slot, ring->slot_bytes);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return __atomic_load_n(sequence, __ATOMIC_RELAXED) == whole ? 0 : -1;
}

static inline const char *edgecv_ring_json(const void *copy) {
  return (const char *)copy + sizeof(edgecv_ring_slot);
}

static inline const uint8_t *edgecv_ring_pixels(const void *copy) {
  const edgecv_ring_slot *slot = (const edgecv_ring_slot *)copy;
  return (const uint8_t *)(slot + 1) + ((slot->json_bytes + 63u) / 64u) * 64u;
}

#endif
