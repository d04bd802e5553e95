// Offline inference of both models: images -> preprocess.json -> a backend -> label maps or detections.
#include <algorithm>
#include <iostream>
#include <opencv2/core/utility.hpp>
#include <string>
#include <vector>

#include "failure.h"
#include "image_list.h"
#include "model.h"
#include "options.h"
#include "pipeline.h"
#include "preprocess_spec.h"
#include "results.h"

namespace mindseg {
namespace {

std::vector<size_t> without_result(const std::vector<ImageFile>& images, const Results& results) {
  std::vector<size_t> pending;
  for (size_t i = 0; i < images.size(); ++i) {
    if (!results.has(images[i])) pending.push_back(i);
  }
  return pending;
}

Status run(const Options& options) {
  cv::setNumThreads(1);  // the threads are the pipeline's
  const PreprocessSpec spec = read_recipe(options.preprocess);
  const auto images = list_images(options.dataset_path, options.image_list);
  if (!options.dump_inputs.empty()) make_folder(options.dump_inputs);
  const Model model(options, spec, spec.in_parts() ? 1 : 0);  // parts stay in order: one run with all threads
  Results results(options, spec);
  const auto pending = without_result(images, results);
  std::cout << images.size() << " images, " << images.size() - pending.size() << " of them have a result already"
            << std::endl;
  std::vector<Outcome> outcomes(images.size());
  Pipeline pipeline(model, spec, results, options.dump_inputs, std::clamp(options.threads / 2, 1, 8));
  pipeline.run(images, pending, outcomes);
  results.finish(images, outcomes, pipeline.timing());
  std::cout << pipeline.timing().table() << "results: " << options.result_path.string() << std::endl;
  const auto failures = std::count_if(outcomes.begin(), outcomes.end(), [](const auto& o) { return !o.error.empty(); });
  if (failures == 0) return Status::kDone;
  std::cerr << failures << " of " << images.size() << " images have no result, see above and index.json" << std::endl;
  return Status::kImagesFailed;
}

int main_of(const std::vector<std::string>& words) {
  Status status = Status::kUnusable;
  try {
    const Options options = parse_options(words);
    if (options.help) {
      std::cout << usage();
      return 0;
    }
    return static_cast<int>(run(options));
  } catch (const Failure& failure) {
    std::cerr << "error: " << failure.what() << std::endl;
    status = failure.status();
  } catch (const std::bad_alloc&) {
    std::cerr << "error: not enough memory; run fewer programs beside this one, or a smaller model" << std::endl;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << std::endl;
  }
  return static_cast<int>(status);
}

}  // namespace
}  // namespace mindseg

int main(int count, char** words) { return mindseg::main_of(std::vector<std::string>(words + 1, words + count)); }
