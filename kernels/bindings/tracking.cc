#include <nanobind/stl/pair.h>

#include <cstddef>
#include <cstdint>

#include "bindings/bindings.h"
#include "byte_track/byte_track.h"
#include "linear_assignment/linear_assignment.h"

namespace edgecv::bindings {
namespace {

using Gains = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Motion = nb::ndarray<double, nb::shape<-1, 4, 5>, nb::c_contig, nb::device::cpu>;
using Seconds = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Labels = nb::ndarray<std::int64_t, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;

}  // namespace

void BindTracking(nb::module_& m) {
  m.def(
      "linear_assignment_cpu",
      [](Gains gains, Ids column_of_row) {
        const std::size_t rows = gains.shape(0), columns = gains.shape(1);
        Require(column_of_row.shape(0) == rows,
                "linear_assignment_cpu: `column_of_row` must have an element per row of `gains`.");
        Require(rows < (std::size_t{1} << 31) && columns < (std::size_t{1} << 31),
                "linear_assignment_cpu: there must be fewer than 2^31 rows and columns.");
        const WithoutGil nogil;
        LinearAssignmentCpu(gains.data(), rows, columns, column_of_row.data());
      },
      "gains"_a.noconvert(), "column_of_row"_a.noconvert());
  m.def(
      "byte_track_cpu",
      [](Motion motion, Seconds unseen_s, Labels labels, std::size_t num_tracks, Boxes boxes_xyxy,
         Scores scores, ClassIds class_ids, double elapsed_s, double high_score, double low_score,
         double new_score, double min_iou, double min_iou_low, double min_iou_new, double lost_s,
         std::int64_t min_hits, bool is_class_aware, std::int64_t next_id, Ids track_ids) {
        const std::size_t n = boxes_xyxy.shape(0), room = motion.shape(0);
        Require(scores.shape(0) == n && class_ids.shape(0) == n && track_ids.shape(0) == n,
                "byte_track_cpu: `scores`, `class_ids` and `track_ids` must have a row per box.");
        Require(unseen_s.shape(0) == room && labels.shape(0) == room && room >= n &&
                    room - n >= num_tracks,
                "byte_track_cpu: `motion`, `unseen_s` and `labels` must have room for "
                "num_tracks + len(boxes_xyxy) rows.");
        const WithoutGil nogil;
        const std::size_t count = ByteTrackCpu(
            {motion.data(), unseen_s.data(), labels.data()}, num_tracks, boxes_xyxy.data(),
            scores.data(), class_ids.data(), n, elapsed_s,
            {high_score, low_score, new_score, min_iou, min_iou_low, min_iou_new, lost_s, min_hits,
             is_class_aware},
            &next_id, track_ids.data());
        return std::pair(count, next_id);
      },
      "motion"_a.noconvert(), "unseen_s"_a.noconvert(), "labels"_a.noconvert(), "num_tracks"_a,
      "boxes_xyxy"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert(), "elapsed_s"_a,
      "high_score"_a, "low_score"_a, "new_score"_a, "min_iou"_a, "min_iou_low"_a, "min_iou_new"_a,
      "lost_s"_a, "min_hits"_a, "is_class_aware"_a, "next_id"_a, "track_ids"_a.noconvert());
}

}  // namespace edgecv::bindings
