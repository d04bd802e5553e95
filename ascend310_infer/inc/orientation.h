// The EXIF orientation of WebP files, which OpenCV does not regard.
#pragma once

#include <opencv2/core.hpp>
#include <vector>

namespace mindseg {

// 1 (upright) to 8, as EXIF counts; 1 for files of other kinds and without an orientation.
int webp_orientation(const std::vector<unsigned char>& bytes);

// An image with this EXIF orientation as it is to be shown.
cv::Mat upright(const cv::Mat& image, int orientation);

}  // namespace mindseg
