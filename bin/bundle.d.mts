export function makeExecutable(places: {
  readonly from: string;
  readonly to: string;
}): Promise<void>;
