/** Who may open the daemon's pipe, and whether the system understood it so. Pure. */

/** Owner, group and the only one with access: the user. Nothing of lower integrity may connect. */
export const pipeSddl = (userSid: string): string =>
  `O:${userSid}G:${userSid}D:P(A;;GA;;;${userSid})S:(ML;;NWNR;;;ME)`;

/** Spellings of "everything" on a pipe. Windows maps the generic right, Wine shows it as it is. */
const FULL_ACCESS: ReadonlySet<string> = new Set(['GA', 'FA', '0x1f01ff', '0x10000000']);

export interface PipeSecurity {
  /** What is wrong with it; undefined if it is as private as we asked. */
  readonly problem?: string;
  /** The integrity label is there. */
  readonly labelled: boolean;
}

/** Compares what the system says of the pipe, as SDDL, with what we asked for. */
export function judgePipeSecurity(sddl: string, userSid: string, wine: boolean): PipeSecurity {
  const labelled = /S:[A-Z]*\(ML;;(NW|NR){2};;;(ME|S-1-16-8192)\)/.test(sddl);
  const owner = /^O:(S-[0-9-]+|[A-Z]{2})(?=G:|D:|S:|$)/.exec(sddl)?.[1];
  const dacl = /D:([A-Z]*)((?:\([^)]*\))*)/.exec(sddl);
  const rules = dacl?.[2] ? dacl[2].slice(1, -1).split(')(') : [];
  const [type, flags, rights, , , who] = rules[0]?.split(';') ?? [];
  const problem = (text: string): PipeSecurity => ({ problem: text, labelled });

  // A well-known alias (LA for the built-in administrator) stands for a SID that we cannot expand.
  const isUser = (name: string | undefined): boolean => name === userSid || isAlias(name, userSid);
  if (!isUser(owner)) return problem(`it belongs to ${owner ?? 'nobody'}, expected ${userSid}`);
  if (!dacl) return problem('it has no access rules');
  if (!dacl[1]?.includes('P') && !wine) return problem('its access rules are not protected');
  if (rules.length !== 1) return problem(`expected one access rule, got ${rules.length}`);
  if (type !== 'A' || flags !== '' || !FULL_ACCESS.has(rights ?? '') || !isUser(who)) {
    return problem(`expected access for ${userSid} alone, got (${rules[0]})`);
  }
  if (!labelled && !wine) return problem('it has no integrity label');
  return { labelled };
}

/** SDDL's two letters for accounts of the machine, by the last part of the SID. */
function isAlias(name: string | undefined, sid: string): boolean {
  const account = name === 'LA' ? '-500' : name === 'LG' ? '-501' : undefined;
  return account !== undefined && sid.startsWith('S-1-5-21-') && sid.endsWith(account);
}
