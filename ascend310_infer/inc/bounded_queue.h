// A queue between threads that makes the faster side wait.
#ifndef MINDSEG_BOUNDED_QUEUE_H_
#define MINDSEG_BOUNDED_QUEUE_H_

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace mindseg {

template <typename Item>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // Waits for room. Returns false, and drops the item, once the queue is closed.
  bool push(Item item) {
    std::unique_lock<std::mutex> lock(mutex_);
    has_room_.wait(lock, [this] { return closed_ || items_.size() < capacity_; });
    if (closed_) return false;
    items_.push_back(std::move(item));
    has_items_.notify_one();
    return true;
  }

  // Waits for an item. Returns nothing once the queue is closed and empty.
  std::optional<Item> pop() {
    std::unique_lock<std::mutex> lock(mutex_);
    has_items_.wait(lock, [this] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    Item item = std::move(items_.front());
    items_.pop_front();
    has_room_.notify_one();
    return item;
  }

  // No more items will come; what is queued can still be taken.
  void close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    has_room_.notify_all();
    has_items_.notify_all();
  }

 private:
  const size_t capacity_;
  bool closed_ = false;
  std::deque<Item> items_;
  std::mutex mutex_;
  std::condition_variable has_room_;
  std::condition_variable has_items_;
};

}  // namespace mindseg
#endif  // MINDSEG_BOUNDED_QUEUE_H_
