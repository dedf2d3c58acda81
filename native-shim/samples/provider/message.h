// Is this a mail message? Looks at its header alone.
#ifndef MAPISYNC_SAMPLES_PROVIDER_MESSAGE_H_
#define MAPISYNC_SAMPLES_PROVIDER_MESSAGE_H_

#include <string>
#include <string_view>

namespace sample {

// Takes a message in pieces, keeps its header until it is whole, then judges it. Errors are sticky.
class HeaderCheck {
 public:
  // False: the header is bad, and the rest need not be read.
  bool Feed(std::string_view piece);

  // At the end of the message. Returns what is wrong with the header, or NULL.
  const char* Finish();

 private:
  std::string header_;
  bool judged_ = false;
  const char* wrong_ = nullptr;
};

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_PROVIDER_MESSAGE_H_
