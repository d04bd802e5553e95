#include "pipeline.h"

#include <algorithm>
#include <cstring>
#include <iostream>
#include <thread>

#include "failure.h"
#include "fingerprint.h"

namespace mindseg {
namespace {

int batches(const Model& model, int helpers) { return model.slots() + 2 * helpers + 1; }

// File names have 255 bytes at most; ".unfinished-" and a suffix come to the stem.
void expect_short_name(const ImageFile& image) {
  constexpr size_t kLongestStem = 235;
  if (image.stem.size() <= kLongestStem) return;
  throw ImageError("the result's name, its path with __ for /, is longer than " + std::to_string(kLongestStem) +
                   " bytes; rename it, or give a --dataset_path nearer to it");
}

}  // namespace

Pipeline::Pipeline(const Model& model, const PreprocessSpec& spec, Results& results, std::filesystem::path dump_inputs,
                   int helpers)
    : model_(model),
      spec_(spec),
      results_(results),
      preprocess_(spec),
      dump_inputs_(std::move(dump_inputs)),
      helpers_(helpers),
      free_(batches(model, helpers)),
      ready_(batches(model, helpers)),
      done_(batches(model, helpers)) {
  for (int i = 0; i < batches(model, helpers); ++i) {
    auto batch = std::make_unique<Batch>();
    for (const auto& spec : spec.inputs) batch->inputs.emplace_back(spec.bytes());
    for (const auto& spec : model.outputs()) batch->outputs.emplace_back(spec.bytes());
    free_.push(std::move(batch));
  }
}

void Pipeline::run(const std::vector<ImageFile>& images, const std::vector<size_t>& pending,
                   std::vector<Outcome>& outcomes) {
  images_ = &images;
  pending_ = &pending;
  outcomes_ = &outcomes;
  std::vector<std::thread> decoders, inference, writers;
  for (int i = 0; i < helpers_; ++i) decoders.emplace_back([this] { guarded([this] { decode_all(); }); });
  for (int i = 0; i < model_.slots(); ++i) inference.emplace_back([this, i] { guarded([this, i] { infer_all(i); }); });
  for (int i = 0; i < helpers_; ++i) writers.emplace_back([this] { guarded([this] { write_all(); }); });
  for (auto& thread : decoders) thread.join();
  ready_.close();
  for (auto& thread : inference) thread.join();
  done_.close();
  for (auto& thread : writers) thread.join();
  timing_.finish();
  if (first_error_) std::rethrow_exception(first_error_);
}

// Keeps the first exception and wakes everybody, so that all threads end.
template <typename Stage>
void Pipeline::guarded(Stage stage) {
  try {
    stage();
  } catch (...) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!first_error_) first_error_ = std::current_exception();
    }
    for (Queue* queue : {&free_, &ready_, &done_}) queue->close();
  }
}

void Pipeline::decode_all() {
  const auto size = static_cast<size_t>(spec_.batch);
  while (auto batch = free_.pop()) {
    (*batch)->jobs.clear();
    // An unreadable image leaves its place to the next one.
    while ((*batch)->jobs.size() < size) {
      const size_t position = next_++;
      if (position >= pending_->size()) break;
      fill(**batch, (*pending_)[position]);
    }
    if ((*batch)->jobs.empty() || !ready_.push(std::move(*batch))) return;
  }
}

void Pipeline::fill(Batch& batch, size_t image) {
  const ImageFile& file = (*images_)[image];
  Job job{image, {file.name, file.id, {}, {}, static_cast<int>(batch.jobs.size())}, {}, Clock::now(), {}};
  cv::Mat pixels;
  try {
    expect_short_name(file);
    const auto bytes = read_image(file.path);
    job.fingerprint = fingerprint(bytes.data(), bytes.size());
    pixels = decode_image(bytes, spec_.turn);
  } catch (const ImageError& error) {
    failed(image, error.what());
    return;
  }
  const auto decoded = Clock::now();
  job.latency.decode = milliseconds(decoded - job.started);
  const size_t bytes = batch.inputs[0].size() / static_cast<size_t>(spec_.batch);
  job.placement.original = {pixels.rows, pixels.cols};
  job.placement.valid = preprocess_(pixels, batch.inputs[0].data() + bytes * batch.jobs.size());
  if (batch.inputs.size() == 2) {
    const float size[] = {static_cast<float>(job.placement.valid.height),
                          static_cast<float>(job.placement.valid.width)};
    std::memcpy(batch.inputs[1].data() + sizeof(size) * batch.jobs.size(), size, sizeof(size));
  }
  job.latency.preprocess = milliseconds(Clock::now() - decoded);
  if (!dump_inputs_.empty()) dump(batch, job);
  batch.jobs.push_back(std::move(job));
}

void Pipeline::dump(const Batch& batch, const Job& job) const {
  const size_t bytes = batch.inputs[0].size() / static_cast<size_t>(spec_.batch);
  const auto* start = reinterpret_cast<const char*>(batch.inputs[0].data()) + bytes * job.placement.slot;
  write_whole(dump_inputs_ / ((*images_)[job.image].stem + ".bin"), std::string(start, bytes));
}

void Pipeline::infer_all(int slot) {
  while (auto batch = ready_.pop()) {
    const auto started = Clock::now();
    model_.run(slot, (*batch)->inputs, (*batch)->outputs);
    const double took = milliseconds(Clock::now() - started);
    for (auto& job : (*batch)->jobs) job.latency.inference = took;
    if (!done_.push(std::move(*batch))) return;
  }
}

void Pipeline::write_all() {
  while (auto batch = done_.pop()) {
    for (auto& job : (*batch)->jobs) write(**batch, job);
    free_.push(std::move(*batch));
  }
}

void Pipeline::write(const Batch& batch, Job& job) {
  const auto started = Clock::now();
  try {
    const std::string content = encode_result(spec_, model_.outputs(), batch.outputs, job.placement);
    results_.store((*images_)[job.image], job.fingerprint, content);
  } catch (const ImageError& error) {
    failed(job.image, error.what());
    return;
  }
  job.latency.write = milliseconds(Clock::now() - started);
  job.latency.total = milliseconds(Clock::now() - job.started);
  timing_.add(job.latency);
}

void Pipeline::failed(size_t image, const std::string& error) {
  (*outcomes_)[image].error = error;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::cerr << (*images_)[image].path.string() << ": " << error << std::endl;
}

}  // namespace mindseg
