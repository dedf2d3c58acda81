/** Seeds that failed once, named after what was wrong. They run first. */
export const NAMED_CASES = {};
