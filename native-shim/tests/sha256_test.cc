#include "sha256.h"

#include <string>

#include "bytes.h"
#include "check.h"

using mapisync::HmacSha256;
using mapisync::kSha256Bytes;
using mapisync::Sha256;
using mapisync::Sha256Stream;

namespace {

std::string Hash(const std::string& text) {
  unsigned char out[kSha256Bytes];
  Sha256(text.data(), text.size(), out);
  return HexOf(out, sizeof out);
}

std::string Hmac(const std::string& key, const std::string& text) {
  unsigned char out[kSha256Bytes];
  HmacSha256 hmac(key.data(), key.size());
  hmac.Update(text.data(), text.size());
  hmac.Finish(out);
  return HexOf(out, sizeof out);
}

// FIPS 180-4's examples.
void HashesNistVectors() {
  CHECK_EQ(Hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQ(Hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_EQ(Hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK_EQ(Hash("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqkl"
                "mnopqrlmnopqrsmnopqrstnopqrstu"),
           "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  CHECK_EQ(Hash(std::string(1000000, 'a')),
           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Sizes on both sides of where the padding needs one more block; from another implementation.
void PadsAtEachSize() {
  const struct {
    std::size_t size;
    const char* hash;
  } rows[] = {
      {1, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
      {55, "4406b9931051072b50b3245d51f9f57baf7b39acf85b1cce452ec6c81d2a384f"},
      {56, "bfcf8730342196aeae0adaed61dabec7e8261428b5220ae5f3d1a9fa9621cd12"},
      {57, "da3a70ef02c504bc5f5f72960c69b6c9ab80d0f4b7f7ffd1a2493df10a257b35"},
      {63, "4cdd0f4b4d356151ccf3d9e7909b91aeddb233ef5e1fb0a83369c81677aa1d6c"},
      {64, "2a94c28f8bed8b9015dbfd25bb5ebde8bf5a38e88d18e287c4050a07f3367527"},
      {65, "55172f2b9cf2db2183968f14ca0fe3eb64567d88a7f8be7f5ce5a3b60335151b"},
      {119, "2cf6d6bcf35eba96d4d10d2aef3758a8d94a617e884681d74e5be766bdf98fbe"},
      {120, "dbfede189a826c8621e49ef635f526446292949b570131e1826222decdf75639"},
      {128, "3f2f521dfa98b748c5e79412be9cfc8b701ca36a51b44ea793d3d6f452e6f054"},
      {1000, "c49bba59ccc72847b869b364a909a52606e91412eccdc570032df23b181fdfa9"},
  };
  std::string text;
  for (int i = 0; i < 100; i++) text += "abcdefghij";
  for (const auto& row : rows) CHECK_EQ(Hash(text.substr(0, row.size)), row.hash);
}

void GivesTheSameInAnyPieces() {
  std::string text;
  for (int i = 0; i < 200; i++) text += static_cast<char>(i);
  for (std::size_t cut = 0; cut <= text.size(); cut++) {
    Sha256Stream stream;
    stream.Update(text.data(), cut);
    stream.Update(text.data() + cut, text.size() - cut);
    unsigned char out[kSha256Bytes];
    stream.Finish(out);
    CHECK_EQ(HexOf(out, sizeof out), Hash(text));
  }
}

void AuthenticatesRfc4231Vectors() {
  const std::string twenty_aa(20, '\xaa');
  const std::string long_key(131, '\xaa');
  CHECK_EQ(Hmac(std::string(20, '\x0b'), "Hi There"),
           "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK_EQ(Hmac("Jefe", "what do ya want for nothing?"),
           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK_EQ(Hmac(twenty_aa, std::string(50, '\xdd')),
           "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  CHECK_EQ(
      Hmac(BytesOf("0102030405060708090a0b0c0d0e0f10111213141516171819"), std::string(50, '\xcd')),
      "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  CHECK_EQ(Hmac(long_key, "Test Using Larger Than Block-Size Key - Hash Key First"),
           "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  CHECK_EQ(Hmac(long_key,
                "This is a test using a larger than block-size key and a larger than block-size "
                "data. The key needs to be hashed before being used by the HMAC algorithm."),
           "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

void ComparesEachByte() {
  unsigned char a[kSha256Bytes] = {};
  unsigned char b[kSha256Bytes] = {};
  CHECK(mapisync::IsEqualInConstantTime(a, b, sizeof a));
  for (unsigned i = 0; i < sizeof a; i++) {
    b[i] ^= static_cast<unsigned char>(1u << i % 8);
    CHECK(!mapisync::IsEqualInConstantTime(a, b, sizeof a));
    b[i] = 0;
  }
}

}  // namespace

int main() {
  return check::Run({
      {"Sha256() hashes the NIST vectors", HashesNistVectors},
      {"Sha256() pads at each size", PadsAtEachSize},
      {"Sha256Stream gives the same in any pieces", GivesTheSameInAnyPieces},
      {"HmacSha256 authenticates the RFC 4231 vectors", AuthenticatesRfc4231Vectors},
      {"IsEqualInConstantTime() compares each byte", ComparesEachByte},
  });
}
