#include "crc32c.h"

#include <vector>

#include "check.h"

namespace mapisync {
namespace {

// One bit at a time, straight from the definition.
std::uint32_t Slow(const unsigned char* data, std::size_t size) {
  std::uint32_t crc = 0xffffffff;
  for (std::size_t i = 0; i < size; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
  }
  return ~crc;
}

// From RFC 3720, appendix B.4, and the usual check value.
void KnownAnswers() {
  std::vector<unsigned char> bytes(32);
  CHECK_EQ(Crc32c(0, bytes.data(), 0), 0u);
  CHECK_EQ(Crc32c(0, bytes.data(), 32), 0x8a9136aau);
  for (unsigned char& byte : bytes) byte = 0xff;
  CHECK_EQ(Crc32c(0, bytes.data(), 32), 0x62a8ab43u);
  for (std::size_t i = 0; i < 32; i++) bytes[i] = static_cast<unsigned char>(i);
  CHECK_EQ(Crc32c(0, bytes.data(), 32), 0x46dd794eu);
  for (std::size_t i = 0; i < 32; i++) bytes[i] = static_cast<unsigned char>(31 - i);
  CHECK_EQ(Crc32c(0, bytes.data(), 32), 0x113fdb5cu);
  CHECK_EQ(Crc32c(0, "123456789", 9), 0xe3069283u);
}

void AgreesWithTheDefinition() {
  std::vector<unsigned char> bytes(64);
  for (std::size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<unsigned char>(i * 37 + 5);
  for (std::size_t from = 0; from < 8; from++) {
    for (std::size_t size = 0; size <= 40; size++) {
      const std::uint32_t want = Slow(bytes.data() + from, size);
      CHECK_EQ(Crc32c(0, bytes.data() + from, size), want);
      CHECK_EQ(Crc32cByTables(0, bytes.data() + from, size), want);
    }
  }
}

void GoesOnFromAPart() {
  const char text[] = "the newest call of a session";
  const std::size_t size = sizeof text - 1;
  for (std::size_t cut = 0; cut <= size; cut++) {
    CHECK_EQ(Crc32c(Crc32c(0, text, cut), text + cut, size - cut), Crc32c(0, text, size));
    CHECK_EQ(Crc32cByTables(Crc32c(0, text, cut), text + cut, size - cut), Crc32c(0, text, size));
  }
}

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"Crc32c() gives the published values", mapisync::KnownAnswers},
      {"Crc32c() agrees with the definition at every size and alignment",
       mapisync::AgreesWithTheDefinition},
      {"Crc32c() goes on from a part", mapisync::GoesOnFromAPart},
  });
}
