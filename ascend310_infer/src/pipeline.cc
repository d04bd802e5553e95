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

void add(const Latency& part, Latency& whole) {
  for (const auto stage : {&Latency::decode, &Latency::preprocess, &Latency::inference, &Latency::write}) {
    whole.*stage += part.*stage;
  }
}

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
      helpers_(spec.in_parts() ? 1 : helpers),
      free_(batches(model, helpers_)),
      ready_(batches(model, helpers_)),
      done_(batches(model, helpers_)) {
  for (int i = 0; i < batches(model, helpers_); ++i) {
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
  const int slots = spec_.in_parts() ? 1 : model_.slots();
  std::vector<std::thread> decoders, inference, writers;
  for (int i = 0; i < helpers_; ++i) decoders.emplace_back([this] { guarded([this] { decode_all(); }); });
  for (int i = 0; i < slots; ++i) inference.emplace_back([this, i] { guarded([this, i] { infer_all(i); }); });
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
    bool more = true;
    while (more && (*batch)->jobs.size() < size) {
      more = spec_.in_parts() ? fill_part(**batch) : fill(**batch);
    }
    if ((*batch)->jobs.empty() || !ready_.push(std::move(*batch))) return;
  }
}

std::optional<size_t> Pipeline::next_image() {
  const size_t position = next_++;
  if (position >= pending_->size()) return std::nullopt;
  return (*pending_)[position];
}

// Puts the next image into the batch; an unreadable one leaves its place to the next. False after the last one.
bool Pipeline::fill(Batch& batch) {
  const auto image = next_image();
  if (!image) return false;
  Job job{*image, {}, {}, Clock::now(), {}, nullptr, {}};
  cv::Mat pixels;
  if (!open(job, pixels)) return true;
  place(batch, std::move(job), pixels);
  return true;
}

// Puts the next window or tile into the batch. False after the last one of the last image.
bool Pipeline::fill_part(Batch& batch) {
  while (!cut_ || cut_->next == cut_->parts.size()) {
    cut_.reset();  // its pixels, before those of the next image are decoded
    const auto image = next_image();
    if (!image) return false;
    auto cut = std::make_unique<Cut>();
    cut->job = {*image, {}, {}, Clock::now(), {}, nullptr, {}};
    if (!open(cut->job, cut->pixels)) continue;
    cut->parts = spec_.parts(cut->job.placement.original);
    cut->job.mosaic = mosaic_of(*cut);
    cut_ = std::move(cut);
  }
  cut_->job.part = cut_->parts[cut_->next++];
  place(batch, cut_->job, cut_->pixels(cut_->job.part));
  cut_->job.latency = {};  // the decoding counts once
  return true;
}

std::shared_ptr<Pipeline::Mosaic> Pipeline::mosaic_of(const Cut& cut) const {
  auto mosaic = std::make_shared<Mosaic>();
  mosaic->tiles = cut.parts.size();
  if (spec_.task == Task::kSemantic) {
    const int classes = static_cast<int>(spec_.class_names.size());
    mosaic->sums.emplace(cut.job.placement.original, spec_.canvas, spec_.slide_stride, classes);
  }
  return mosaic;
}

// Reads and decodes a job's image. False where it cannot be read; it is then reported.
bool Pipeline::open(Job& job, cv::Mat& pixels) {
  const ImageFile& file = (*images_)[job.image];
  job.placement.name = file.name;
  job.placement.id = file.id;
  try {
    expect_short_name(file);
    const auto bytes = read_image(file.path);
    job.fingerprint = fingerprint(bytes.data(), bytes.size());
    pixels = decode_image(bytes, spec_.turn);
  } catch (const ImageError& error) {
    failed(job.image, error.what());
    return false;
  }
  job.placement.original = {pixels.rows, pixels.cols};
  job.latency.decode = milliseconds(Clock::now() - job.started);
  return true;
}

// Makes pixels the next input of the batch.
void Pipeline::place(Batch& batch, Job job, const cv::Mat& pixels) {
  const auto started = Clock::now();
  job.placement.slot = static_cast<int>(batch.jobs.size());
  const size_t bytes = batch.inputs[0].size() / static_cast<size_t>(spec_.batch);
  job.placement.valid = preprocess_(pixels, batch.inputs[0].data() + bytes * batch.jobs.size());
  if (batch.inputs.size() == 2) {
    const float size[] = {static_cast<float>(job.placement.valid.height),
                          static_cast<float>(job.placement.valid.width)};
    std::memcpy(batch.inputs[1].data() + sizeof(size) * batch.jobs.size(), size, sizeof(size));
  }
  job.latency.preprocess = milliseconds(Clock::now() - started);
  if (!dump_inputs_.empty()) {
    dump(batch, job, (*images_)[job.image].stem + (cut_ ? "_" + std::to_string(cut_->next) : ""));
  }
  batch.jobs.push_back(std::move(job));
}

void Pipeline::dump(const Batch& batch, const Job& job, const std::string& name) const {
  const size_t bytes = batch.inputs[0].size() / static_cast<size_t>(spec_.batch);
  const auto* start = reinterpret_cast<const char*>(batch.inputs[0].data()) + bytes * job.placement.slot;
  write_whole(dump_inputs_ / (name + ".bin"), std::string(start, bytes));
}

void Pipeline::infer_all(int slot) {
  while (auto batch = ready_.pop()) {
    const auto started = Clock::now();
    model_.run(slot, (*batch)->inputs, (*batch)->outputs);
    const double took = milliseconds(Clock::now() - started);
    for (auto& job : (*batch)->jobs) {  // an image waits for its batch, a part takes its share of one
      job.latency.inference = job.mosaic ? took / static_cast<double>((*batch)->jobs.size()) : took;
    }
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
  if (job.mosaic && job.mosaic->failed) return;
  const auto started = Clock::now();
  bool complete = true;
  try {
    const auto content = result(batch, job);
    complete = content.has_value();
    if (complete) results_.store((*images_)[job.image], job.fingerprint, *content);
  } catch (const ImageError& error) {
    if (job.mosaic) job.mosaic->failed = true;
    failed(job.image, error.what());
    return;
  }
  job.latency.write = milliseconds(Clock::now() - started);
  if (job.mosaic) {
    add(job.latency, job.mosaic->latency);
    job.latency = job.mosaic->latency;
  }
  if (!complete) return;
  job.latency.total = milliseconds(Clock::now() - job.started);
  timing_.add(job.latency);
}

// The content of the image's result file; nothing while some of its parts are missing.
std::optional<std::string> Pipeline::result(const Batch& batch, Job& job) const {
  if (!job.mosaic) return encode_result(spec_, model_.outputs(), batch.outputs, job.placement);
  if (auto& sums = job.mosaic->sums) {
    add_window(spec_, model_.outputs(), batch.outputs, job.placement.slot, *sums);
    if (!sums->complete()) return std::nullopt;
    return encode_png(sums->labels());
  }
  auto& found = job.mosaic->found;
  found.push_back(tile_instances(spec_, model_.outputs(), batch.outputs, job.placement, job.part));
  if (found.size() < job.mosaic->tiles) return std::nullopt;
  return encode_instances(spec_, merge(found, job.placement.original, spec_.merged_max_per_img), job.placement);
}

void Pipeline::failed(size_t image, const std::string& error) {
  (*outcomes_)[image].error = error;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::cerr << (*images_)[image].path.string() << ": " << error << std::endl;
}

}  // namespace mindseg
