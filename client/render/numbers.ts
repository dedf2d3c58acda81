/** Numbers for people. */

/** `0:04`, `1:12`, `1:02:33`, `2d 3:04:05`. */
export function clock(us: number): string {
  const seconds = Math.max(0, Math.floor(us / 1_000_000));
  const two = (value: number): string => String(value).padStart(2, '0');
  const minutes = Math.floor(seconds / 60) % 60;
  const hours = Math.floor(seconds / 3600) % 24;
  const days = Math.floor(seconds / 86_400);
  if (days > 0) return `${days}d ${hours}:${two(minutes)}:${two(seconds % 60)}`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(seconds % 60)}`;
  return `${minutes}:${two(seconds % 60)}`;
}

/** `25 310`. */
export const grouped = (count: number): string => {
  const digits = String(Math.round(count));
  return digits.replace(/\B(?=(\d{3})+$)/g, ' ');
};

/** `310/s`, `0.4/s`. */
export const rate = (perSecond: number): string =>
  perSecond < 10 && perSecond > 0 ? `${perSecond.toFixed(1)}/s` : `${grouped(perSecond)}/s`;

/** `3 errors`, `1 error`. */
export const count = (n: number, noun: string): string =>
  `${grouped(n)} ${noun}${n === 1 ? '' : 's'}`;

/** `8.0 MiB`. */
export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = size / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}
