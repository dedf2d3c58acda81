/*
 * A test host in C, with no Outlook and no provider: reports a sync to a sink. Run it beside a
 * daemon (`mapisync daemon start`, then `mapisync tail`).
 */
#include <stdio.h>

#include "mapisync.h"

#define MESSAGES 5
#define FLUSH_MS 10000

int main(void) {
  mapisync_options options = {0};
  mapisync_callback* sink;
  mapisync_status status = {0};
  char session[MAPISYNC_SESSION_ID_CHARS];
  uint32_t i;
  int all;

  options.size = sizeof options;
  options.provider = u"Report in C";
  options.store = u"Five messages";
  sink = (mapisync_callback*)mapisync_sink(&options);
  if (sink == NULL) return 1;
  if (!mapisync_session_id(sink, session)) {
    fprintf(stderr, "Nothing is recorded: start a daemon first (mapisync daemon start)\n");
    sink->vtbl->Release(sink);
    return 1;
  }
  for (i = 0; i <= MESSAGES; i++) sink->vtbl->Progress(sink, u"Inbox", i, MESSAGES);
  sink->vtbl->Done(sink, NULL, 0);
  sink->vtbl->Release(sink);

  all = mapisync_flush(FLUSH_MS);
  status.size = sizeof status;
  mapisync_get_status(&status);
  printf("session %s, %u of %u frames in the journal\n", session, (unsigned)status.acknowledged,
         (unsigned)status.recorded);
  return all ? 0 : 1;
}
