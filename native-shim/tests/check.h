// A test program is a list of named functions:
//   int main() { return check::Run({{"name", function}}); }
// A failed check is printed, its test goes on, and the program ends with 1.
#ifndef MAPISYNC_TESTS_CHECK_H_
#define MAPISYNC_TESTS_CHECK_H_

#include <chrono>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>

namespace check {

struct Test {
  const char* name;
  void (*run)();
};

inline int failures = 0;

inline std::string Show(const char* value) { return value == nullptr ? "null" : value; }
inline std::string Show(const std::string& value) { return "\"" + value + "\""; }
inline std::string Show(const void* value) {
  char text[32];
  std::snprintf(text, sizeof text, "%p", value);
  return text;
}
inline std::string Show(bool value) { return value ? "true" : "false"; }
template <typename T>
std::string Show(T value) {
  return std::to_string(static_cast<long long>(value));
}

inline void Fail(const char* file, int line, const std::string& what) {
  failures++;
  std::printf("%s:%d: %s\n", file, line, what.c_str());
}

template <typename A, typename B>
void Equal(const char* file, int line, const char* text, const A& got, const B& want) {
  if (got == want) return;
  Fail(file, line, std::string(text) + ": expected " + Show(want) + ", got " + Show(got));
}

inline int Run(std::initializer_list<Test> tests) {
  int passed = 0;
  int failed = 0;
  for (const Test& test : tests) {
    const int before = failures;
    const auto start = std::chrono::steady_clock::now();
    test.run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    const bool ok = failures == before;
    (ok ? passed : failed)++;
    if (!ok) std::printf("FAILED %s\n", test.name);
    if (took.count() > 1) std::printf("%s took %.1f s\n", test.name, took.count());
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) \
  ((condition) ? (void)0 : check::Fail(__FILE__, __LINE__, "expected " #condition))
#define CHECK_EQ(got, want) check::Equal(__FILE__, __LINE__, #got, (got), (want))

#endif  // MAPISYNC_TESTS_CHECK_H_
