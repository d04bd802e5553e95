#include "timing.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace mindseg {

void Timing::add(const Latency& latency) {
  const std::lock_guard<std::mutex> lock(mutex_);
  latencies_.push_back(latency);
}

void Timing::finish() { finished_ = Clock::now(); }

double Timing::images_per_second() const {
  const double seconds = milliseconds(finished_ - started_) / 1000;
  return seconds > 0 ? static_cast<double>(latencies_.size()) / seconds : 0;
}

std::vector<std::pair<std::string, Percentiles>> Timing::percentiles() const {
  static const std::pair<const char*, double Latency::*> kStages[] = {{"decode", &Latency::decode},
                                                                      {"preprocess", &Latency::preprocess},
                                                                      {"inference", &Latency::inference},
                                                                      {"write", &Latency::write},
                                                                      {"total", &Latency::total}};
  std::vector<std::pair<std::string, Percentiles>> result;
  if (latencies_.empty()) return result;
  for (const auto& [name, stage] : kStages) {
    std::vector<double> values;
    for (const auto& latency : latencies_) values.push_back(latency.*stage);
    std::sort(values.begin(), values.end());
    const auto at = [&](double share) {
      return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
    };
    result.push_back({name, {at(0.5), at(0.9), at(0.99)}});
  }
  return result;
}

std::string Timing::table() const {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2) << images() << " images, " << images_per_second() << " images/s\n";
  for (const auto& [stage, p] : percentiles()) {
    out << std::left << std::setw(12) << stage << std::right << "p50 " << std::setw(9) << p.p50 << "  p90 "
        << std::setw(9) << p.p90 << "  p99 " << std::setw(9) << p.p99 << " ms\n";
  }
  return out.str();
}

}  // namespace mindseg
