export interface Decoded {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly traceId: string;
  readonly spanId: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into messages of all kinds.
  readonly [field: string]: any;
}
export declare class Receiver {
  logs: Decoded[];
  spans: Decoded[];
  // biome-ignore lint/suspicious/noExplicitAny: the same.
  metrics: Map<string, any>;
  bytes: Buffer[];
  headers: Readonly<Record<string, string>>;
  requests: number;
  fate: (what: string | undefined, request: number) => unknown;
  listen(tls?: { cert: string; key: string }): Promise<string>;
  close(): Promise<void>;
}
