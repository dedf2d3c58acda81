export declare const schema: object;
/** @throws what is wrong with it. */
export declare function checkValid(record: unknown): void;
