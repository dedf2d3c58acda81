#include "utf8.h"

#include <random>
#include <string>
#include <vector>

#include "check.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace mapisync {
namespace {

struct Converted {
  std::string text;
  std::uint32_t marks;
};

Converted Convert(const char16_t* text, std::uint32_t max_units = kMaxTextUnits) {
  std::vector<char> out(3 * max_units + kUtf8SlackBytes);
  std::vector<char> inline_out(out.size());
  const Utf8Result result = Utf8FromUtf16(text, max_units, out.data());
  const Utf8Result same = Utf8FromUtf16Inline(text, max_units, inline_out.data());
  CHECK(same.size_bytes == result.size_bytes && same.marks == result.marks);
  CHECK(std::memcmp(out.data(), inline_out.data(), result.size_bytes) == 0);
  return {std::string(out.data(), result.size_bytes), result.marks};
}

// Unit by unit, with no thought of speed.
Converted Slow(const std::u16string& text, std::uint32_t max_units) {
  Converted to = {"", 0};
  std::size_t i = 0;
  while (i < text.size() && i < max_units) {
    unsigned code = text[i];
    const unsigned next = i + 1 < text.size() ? text[i + 1] : 0u;
    const bool pair = code >= 0xd800 && code < 0xdc00 && next >= 0xdc00 && next < 0xe000;
    if (pair && i + 1 >= max_units) break;
    if (pair) {
      code = 0x10000 + ((code - 0xd800) << 10) + (next - 0xdc00);
    } else if (code >= 0xd800 && code < 0xe000) {
      code = 0xfffd;
      to.marks |= kMarkReplaced;
    }
    if (code < 0x80) {
      to.text += static_cast<char>(code);
    } else {
      const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
      const unsigned lead = more == 1 ? 0xc0u : more == 2 ? 0xe0u : 0xf0u;
      to.text += static_cast<char>(lead | code >> 6 * more);
      for (int k = more - 1; k >= 0; k--) to.text += static_cast<char>(0x80 | (code >> 6 * k & 63));
    }
    i += pair ? 2 : 1;
  }
  if (i < text.size()) to.marks |= kMarkCut;
  return to;
}

void ConvertsRows() {
  const struct {
    std::u16string from;
    std::string to;
    std::uint32_t marks;
  } rows[] = {
      {u"", "", 0},
      {u"Inbox", "Inbox", 0},
      {u"exactly8", "exactly8", 0},
      {u"Synchronizing folder 12!", "Synchronizing folder 12!", 0},
      {u"\u007f\u0080\u07ff\u0800\uffff", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 0},
      {u"Postausgang für Müller: größer", "Postausgang für Müller: größer", 0},
      {u"受信トレイ", "受信トレイ", 0},
      {u"a\U0001F600b",
       "a\xf0\x9f\x98\x80"
       "b",
       0},
      {u"\U0010FFFF", "\xf4\x8f\xbf\xbf", 0},
      {std::u16string(1, 0xd83d), "\xef\xbf\xbd", kMarkReplaced},
      {std::u16string(1, 0xde00), "\xef\xbf\xbd", kMarkReplaced},
      {std::u16string(u"x") + char16_t{0xde00} + char16_t{0xd83d} + u"y",
       "x\xef\xbf\xbd\xef\xbf\xbdy", kMarkReplaced},
      {std::u16string(1, 0xd83d) + u"\U0001F600", "\xef\xbf\xbd\xf0\x9f\x98\x80", kMarkReplaced},
  };
  for (const auto& row : rows) {
    const Converted got = Convert(row.from.c_str());
    CHECK_EQ(got.text, row.to);
    CHECK_EQ(got.marks, row.marks);
  }
}

void CutsAtTheLimit() {
  for (const char16_t unit : {u'a', u'é', u'語'}) {
    for (const std::uint32_t length : {kMaxTextUnits - 1, kMaxTextUnits, kMaxTextUnits + 1}) {
      const Converted got = Convert(std::u16string(length, unit).c_str());
      const std::uint32_t kept = length < kMaxTextUnits ? length : kMaxTextUnits;
      CHECK_EQ(got.text.size(), kept * Convert(std::u16string(1, unit).c_str()).text.size());
      CHECK_EQ(got.marks, length > kMaxTextUnits ? kMarkCut : 0u);
    }
  }
  CHECK_EQ(Convert(std::u16string(kMaxTextUnits, u'語').c_str()).text.size(),
           std::size_t{kMaxTextBytes});
  // A pair across the limit goes as a whole; one before it stays.
  const std::u16string emoji = u"\U0001F600";
  const Converted across = Convert((std::u16string(kMaxTextUnits - 1, u'a') + emoji).c_str());
  CHECK_EQ(across.text.size(), std::size_t{kMaxTextUnits - 1});
  CHECK_EQ(across.marks, kMarkCut);
  const Converted before = Convert((std::u16string(kMaxTextUnits - 2, u'a') + emoji).c_str());
  CHECK_EQ(before.text.size(), std::size_t{kMaxTextUnits + 2});
  CHECK_EQ(before.marks, 0u);
  // A lone half at the limit is replaced, not cut.
  const std::u16string lone = std::u16string(kMaxTextUnits - 1, u'a') + char16_t{0xd83d};
  CHECK_EQ(Convert(lone.c_str()).marks, kMarkReplaced);
  CHECK_EQ(Convert((lone + u"b").c_str()).marks, kMarkReplaced | kMarkCut);
}

void AgreesWithTheSlowWay() {
  std::mt19937 engine(20240611);
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  for (int round = 0; round < 20000; round++) {
    std::u16string text(random() % 40, u'a');
    const unsigned odds = random() % 20 + 1;
    for (char16_t& unit : text) {
      const unsigned dice = random() % (odds * 4);
      if (dice == 0) unit = static_cast<char16_t>(0x80 + random() % 0x780);
      if (dice == 1) unit = static_cast<char16_t>(0x800 + random() % 0xf800);
      if (dice == 2) unit = static_cast<char16_t>(0xd800 + random() % 0x800);
      if (unit == 0) unit = u'b';
    }
    const std::uint32_t limit = random() % 48;
    const Converted got = Convert(text.c_str(), limit);
    const Converted want = Slow(text, limit);
    CHECK_EQ(got.text, want.text);
    CHECK_EQ(got.marks, want.marks);
    if (check::failures > 0) return;
  }
}

// A page, and behind it one that kills whoever reads it.
char* PageBeforeAGuard(std::size_t* page_bytes) {
#ifdef _WIN32
  *page_bytes = 4096;
  char* pages =
      static_cast<char*>(VirtualAlloc(nullptr, 8192, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
  DWORD before;
  CHECK(VirtualProtect(pages + 4096, 4096, PAGE_NOACCESS, &before) != 0);
#else
  *page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* mapped =
      mmap(nullptr, 2 * *page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* pages = static_cast<char*>(mapped);
  CHECK(mprotect(pages + *page_bytes, *page_bytes, PROT_NONE) == 0);
#endif
  return pages;
}

void StaysInItsPages() {
  std::size_t page_bytes;
  char* const page = PageBeforeAGuard(&page_bytes);
  const std::u16string texts[] = {u"",
                                  u"a",
                                  u"1234567",
                                  u"12345678",
                                  u"Synchronizing Inbox",
                                  u"Synchronizing folder Inbox, item 0123456",
                                  u"Synchronizing folder Inbox, item 0123456 of 123",
                                  u"Synchronizing folder Inbox, item 0123456 of 1234",
                                  u"é",
                                  u"für Müller",
                                  u"受信トレイ受信トレイ",
                                  u"ab\U0001F600"};
  for (const std::u16string& text : texts) {
    const std::size_t bytes = (text.size() + 1) * sizeof(char16_t);
    for (std::size_t before = 0; before < 100; before++) {
      // At every alignment, odd ones included: the last byte is the page's last, or not far from
      // it.
      char* const at = page + page_bytes - bytes - before;
      std::memcpy(at, text.c_str(), bytes);
      const Converted got = Convert(reinterpret_cast<const char16_t*>(at));
      CHECK_EQ(got.text, Slow(text, kMaxTextUnits).text);
    }
  }
  // An end without terminator, where the limit falls on the page's end.
  for (std::uint32_t units = 1; units < 40; units++) {
    char* const at = page + page_bytes - (units + 1) * sizeof(char16_t);
    const std::u16string text(units + 1, u'x');
    std::memcpy(at, text.data(), text.size() * sizeof(char16_t));
    CHECK_EQ(Convert(reinterpret_cast<const char16_t*>(at), units).text.size(), std::size_t{units});
  }
}

// Blocks that stay aligned, as memory checkers want them, over pages too.
void NarrowsOverPages() {
#if defined(MAPISYNC_SSE2)
  alignas(4096) static char16_t pages[3 * 2048];
  std::vector<char> out(6000 + kUtf8SlackBytes);
  for (std::size_t start = 0; start < 4096; start += 16) {
    std::memset(pages, 0, sizeof pages);
    for (std::size_t i = 0; i < 4000; i++) pages[start / 2 + i] = u'a';
    const char* at = reinterpret_cast<const char*>(pages) + start;
    const char* const terminator = at + 8000;
    char* to = out.data();
    NarrowBlocks(&at, at + 8192, &to);
    CHECK(at == terminator && to == out.data() + 4000);
    if (check::failures > 0) return;
  }
#endif
}

void CutsNames() {
  CHECK(Utf8Name(nullptr).text().data == nullptr);
  CHECK(Utf8Name(u"").text().data != nullptr);
  CHECK_EQ(Utf8Name(u"").text().size_bytes, 0u);
  CHECK_EQ(Utf8Name(std::u16string(kMaxNameBytes, u'n').c_str()).text().size_bytes, kMaxNameBytes);
  CHECK_EQ(Utf8Name(std::u16string(90000, u'n').c_str()).text().size_bytes, kMaxNameBytes);
  CHECK_EQ(Utf8Name(std::u16string(kMaxNameBytes, u'語').c_str()).text().size_bytes,
           kMaxNameBytes - 1);
  const Text text = {"a\xc3\xa9\xf0\x9f\x98\x80", 7};
  const std::uint32_t wanted[] = {0, 1, 1, 3, 3, 3, 3, 7, 7};
  for (std::uint32_t room = 0; room < 9; room++) {
    CHECK_EQ(CutUtf8(text, room).size_bytes, wanted[room]);
  }
}

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"Utf8FromUtf16() converts", mapisync::ConvertsRows},
      {"Utf8FromUtf16() cuts at the limit, never a pair", mapisync::CutsAtTheLimit},
      {"Utf8FromUtf16() agrees with a slow one on 20,000 texts", mapisync::AgreesWithTheSlowWay},
      {"Utf8FromUtf16() reads no page that the text is not in", mapisync::StaysInItsPages},
      {"blocks are narrowed over pages", mapisync::NarrowsOverPages},
      {"Utf8Name and CutUtf8() cut at characters", mapisync::CutsNames},
  });
}
