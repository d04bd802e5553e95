// Decode, inference and writing at the same time, each in threads of its own.
#ifndef MINDSEG_PIPELINE_H_
#define MINDSEG_PIPELINE_H_

#include <atomic>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bounded_queue.h"
#include "encode.h"
#include "image_list.h"
#include "model.h"
#include "preprocess.h"
#include "results.h"
#include "timing.h"
#include "windows.h"

namespace mindseg {

class Pipeline {
 public:
  // `dump_inputs` is a folder for the network's inputs, or empty. `helpers` threads decode, and as many write; where
  // images are seen part by part, one of each, so that parts stay in order and few images are in memory.
  Pipeline(const Model& model, const PreprocessSpec& spec, Results& results, std::filesystem::path dump_inputs,
           int helpers);

  // Works on the images whose positions are in `pending`, and says in `outcomes` what became of them. Throws the first
  // Failure of any thread; an image that cannot be read fails alone.
  void run(const std::vector<ImageFile>& images, const std::vector<size_t>& pending, std::vector<Outcome>& outcomes);

  const Timing& timing() const { return timing_; }

 private:
  // What the windows or tiles of one image share.
  struct Mosaic {
    std::optional<WindowSums> sums;    // of windows
    std::vector<TileInstances> found;  // in tiles
    size_t tiles = 0;                  // how many there are
    Latency latency;
    bool failed = false;
  };

  // An image in a batch, or one window or tile of it.
  struct Job {
    size_t image;
    Placement placement;
    Latency latency;
    Clock::time_point started;
    std::string fingerprint;  // of the image file
    std::shared_ptr<Mosaic> mosaic;
    cv::Rect part;  // of the image
  };

  // The image whose windows or tiles go into batches now.
  struct Cut {
    Job job;
    cv::Mat pixels;
    std::vector<cv::Rect> parts;
    size_t next = 0;
  };

  // A batch's memory. There is a fixed number of them, which go round: free, ready, done, free.
  struct Batch {
    std::vector<Job> jobs;
    std::vector<Buffer> inputs;
    std::vector<Buffer> outputs;
  };
  using Queue = BoundedQueue<std::unique_ptr<Batch>>;

  void decode_all();
  void infer_all(int slot);
  void write_all();
  bool fill(Batch& batch);
  bool fill_part(Batch& batch);
  std::shared_ptr<Mosaic> mosaic_of(const Cut& cut) const;
  std::optional<size_t> next_image();
  bool open(Job& job, cv::Mat& pixels);
  void place(Batch& batch, Job job, const cv::Mat& pixels);
  void dump(const Batch& batch, const Job& job, const std::string& name) const;
  void write(const Batch& batch, Job& job);
  std::optional<std::string> result(const Batch& batch, Job& job) const;
  void failed(size_t image, const std::string& error);
  template <typename Stage>
  void guarded(Stage stage);

  const Model& model_;
  const PreprocessSpec& spec_;
  Results& results_;
  const Preprocessor preprocess_;
  const std::filesystem::path dump_inputs_;
  const int helpers_;
  const std::vector<ImageFile>* images_ = nullptr;
  const std::vector<size_t>* pending_ = nullptr;
  std::vector<Outcome>* outcomes_ = nullptr;
  std::atomic<size_t> next_{0};
  std::unique_ptr<Cut> cut_;  // of the only decoder
  Queue free_, ready_, done_;
  std::mutex mutex_;  // of first_error_ and the screen
  std::exception_ptr first_error_;
  Timing timing_;
};

}  // namespace mindseg
#endif  // MINDSEG_PIPELINE_H_
