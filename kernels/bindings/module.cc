// The native module: one `Bind` function per operator, see bindings.h.

#include "bindings/bindings.h"

NB_MODULE(_native, m) {
  using namespace edgecv::bindings;
  BindBoxIou(m);
  BindDecode(m);
  BindDrawing(m);
  BindEdgeNms(m);
  BindLetterbox(m);
  BindNms(m);
  BindPasteMasks(m);
  BindResizeArgmax(m);
  BindRoi(m);
  BindSoftNms(m);
  BindThreads(m);
  BindTracking(m);
}
