// Decode, inference and writing at the same time, each in threads of its own.
#ifndef MINDSEG_PIPELINE_H_
#define MINDSEG_PIPELINE_H_

#include <atomic>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bounded_queue.h"
#include "encode.h"
#include "image_list.h"
#include "model.h"
#include "preprocess.h"
#include "results.h"
#include "timing.h"

namespace mindseg {

class Pipeline {
 public:
  // `dump_inputs` is a folder for the network's inputs, or empty. `helpers` threads decode, and as many write.
  Pipeline(const Model& model, const PreprocessSpec& spec, Results& results, std::filesystem::path dump_inputs,
           int helpers);

  // Works on the images whose positions are in `pending`, and says in `outcomes` what became of them. Throws the first
  // Failure of any thread; an image that cannot be read fails alone.
  void run(const std::vector<ImageFile>& images, const std::vector<size_t>& pending, std::vector<Outcome>& outcomes);

  const Timing& timing() const { return timing_; }

 private:
  struct Job {
    size_t image;
    Placement placement;
    Latency latency;
    Clock::time_point started;
    std::string fingerprint;  // of the image file
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
  void fill(Batch& batch, size_t image);
  void dump(const Batch& batch, const Job& job) const;
  void write(const Batch& batch, Job& job);
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
  Queue free_, ready_, done_;
  std::mutex mutex_;  // of first_error_ and the screen
  std::exception_ptr first_error_;
  Timing timing_;
};

}  // namespace mindseg
#endif  // MINDSEG_PIPELINE_H_
