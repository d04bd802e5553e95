// A value in a JSON file that knows its place, so that every error names file and key.
#ifndef MINDSEG_JSON_NODE_H_
#define MINDSEG_JSON_NODE_H_

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "failure.h"

namespace mindseg {

inline const std::string kExportAgain = "export the model again";

class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string place) : value_(value), place_(std::move(place)) {}

  bool has(const char* key) const { return value_.is_object() && value_.contains(key) && !value_[key].is_null(); }

  JsonNode at(const char* key) const {
    if (!value_.is_object()) fail("expected an object");
    if (!value_.contains(key)) fail("'" + std::string(key) + "' is missing");
    return {value_[key], place_ + "." + key};
  }

  std::vector<JsonNode> items() const {
    if (!value_.is_array()) fail("expected a list");
    std::vector<JsonNode> nodes;
    for (size_t i = 0; i < value_.size(); ++i) nodes.emplace_back(value_[i], place_ + "[" + std::to_string(i) + "]");
    return nodes;
  }

  std::vector<std::string> keys() const {
    if (!value_.is_object()) fail("expected an object");
    std::vector<std::string> names;
    for (const auto& item : value_.items()) names.push_back(item.key());
    return names;
  }

  std::string text() const {
    if (!value_.is_string()) fail("expected text");
    return value_.get<std::string>();
  }

  bool flag() const {
    if (!value_.is_boolean()) fail("expected true or false");
    return value_.get<bool>();
  }

  double number() const {
    if (!value_.is_number()) fail("expected a number");
    return value_.get<double>();
  }

  int64_t integer(int64_t low, int64_t high) const {
    const bool whole =
        value_.is_number_integer() && !(value_.is_number_unsigned() && value_.get<uint64_t>() > INT64_MAX);
    if (!whole || value_.get<int64_t>() < low || value_.get<int64_t>() > high) {
      fail("expected a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return value_.get<int64_t>();
  }

  // The position of the text in `choices`.
  size_t choice(const std::vector<std::string>& choices) const {
    const std::string word = text();
    std::string expected;
    for (size_t i = 0; i < choices.size(); ++i) {
      if (word == choices[i]) return i;
      expected += (i ? ", " : "") + choices[i];
    }
    fail("expected one of: " + expected);
  }

  [[noreturn]] void fail(const std::string& what) const {
    std::string found = value_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (found.size() > 60) found = found.substr(0, 57) + "...";
    throw Failure(place_ + ": " + what + ", found " + found + "; " + kExportAgain);
  }

 private:
  const nlohmann::json& value_;
  std::string place_;
};

// Parses a file; throws Failure with the way out `remedy` where it is unreadable or no JSON.
nlohmann::json read_json(const std::filesystem::path& path, const std::string& remedy);

}  // namespace mindseg
#endif  // MINDSEG_JSON_NODE_H_
