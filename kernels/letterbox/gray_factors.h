// 0.299 R + 0.587 G + 0.114 B in Q15; the factors add up to 1, so that gray stays what it was.
#pragma once

namespace edgecv {

constexpr int kGrayBits = 15;
constexpr int kRedInGray = 9798, kGreenInGray = 19235, kBlueInGray = 3735;

}  // namespace edgecv
