// How long images took in each stage.
#ifndef MINDSEG_TIMING_H_
#define MINDSEG_TIMING_H_

#include <array>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace mindseg {

using Clock = std::chrono::steady_clock;

inline double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// Milliseconds of one image; `total` from the first byte read to the result on disk, waiting included.
struct Latency {
  double decode = 0;
  double preprocess = 0;
  double inference = 0;
  double write = 0;
  double total = 0;
};

struct Percentiles {
  double p50;
  double p90;
  double p99;
};

// Collects the latencies of all threads.
class Timing {
 public:
  void add(const Latency& latency);
  void finish();  // the last image is written

  size_t images() const { return latencies_.size(); }
  double images_per_second() const;
  std::vector<std::pair<std::string, Percentiles>> percentiles() const;  // empty without images
  std::string table() const;

 private:
  std::mutex mutex_;
  std::vector<Latency> latencies_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point finished_ = started_;
};

}  // namespace mindseg
#endif  // MINDSEG_TIMING_H_
