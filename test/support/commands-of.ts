/**
 * The programs that a shell text calls, by name: the words in command position, inside `$( )` and double quotes too, and
 * those behind a word that runs its arguments (`xargs`, `exec`). What an expansion names (`"$@"`) is not seen.
 */
export function commandsOf(text: string): { readonly called: Set<string>; readonly defined: Set<string> } {
  const reader = new Reader(text);
  reader.list("");
  return { called: reader.called, defined: reader.defined };
}

/** Words after which a command begins. */
const openers = new Set(["if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "fi", "done"]);

/** They run the first of their arguments that is a program's name. */
const runners = new Set(
  "exec xargs unshare in_sight on_living in_order at_once feeding on_names in_parts as setsid -exec".split(
    " ",
  ),
);

class Reader {
  readonly called = new Set<string>();
  readonly defined = new Set<string>();
  #at = 0;

  constructor(private readonly text: string) {}

  /** Reads commands until `end`, which is read too. */
  list(end: "" | ")"): void {
    let expects = true;
    let runs = false;
    /** For each open `case`, whether a pattern is next. */
    const cases: boolean[] = [];
    const heredocs: string[] = [];
    while (this.#at < this.text.length) {
      const char = this.text[this.#at] ?? "";
      if (char === "\n") {
        this.#at += 1;
        for (const word of heredocs.splice(0)) this.#heredoc(word);
        [expects, runs] = [true, false];
      } else if (char === " " || char === "\t") this.#at += 1;
      else if (char === "#") this.#skip(/[^\n]*/y);
      else if (char === "\\" && this.text[this.#at + 1] === "\n") this.#at += 2;
      else if (cases.at(-1) === true && this.#is("esac")) {
        cases.pop();
        this.#at += 4;
      } else if (cases.at(-1) === true) {
        if (char === ")") cases[cases.length - 1] = false;
        if (char === "(" || char === "|" || char === ")") this.#at += 1;
        else this.#word();
        [expects, runs] = [true, false];
      } else if (char === ")") {
        this.#at += 1;
        if (end === ")") return;
        expects = true;
      } else if (char === "(") {
        this.#at += 1;
        this.list(")");
        expects = false;
      } else if (";&|".includes(char)) {
        if (this.text.startsWith(";;", this.#at) && cases.length > 0) {
          cases[cases.length - 1] = true;
          this.#at += 1;
        }
        this.#at += 1;
        [expects, runs] = [true, false];
      } else if (/[<>]|\d+[<>]/y.test(this.text.slice(this.#at, this.#at + 3)) && /[<>\d]/.test(char)) {
        const operator = this.#skip(/\d*(?:<<-?|>>|[<>]&|>\||<>|[<>])[ ]*/y);
        if (operator === "") expects = this.#command(expects, cases, runs);
        else {
          const target = this.#word();
          if (operator.includes("<<")) heredocs.push(target.replaceAll(/["'\\]/g, ""));
        }
      } else {
        const before = this.#at;
        expects = this.#command(expects, cases, runs);
        const word = this.text.slice(before, this.#at);
        if (runners.has(word)) runs = true;
        else if (runs && this.#programs.has(word)) runs = false;
      }
    }
  }

  get #programs() {
    return { has: (word: string) => /^[a-z][a-z0-9_-]+$/.test(word) };
  }

  /** A word; whether another command may follow it at once. */
  #command(expects: boolean, cases: boolean[], runs: boolean): boolean {
    const word = this.#word();
    if (!expects) {
      if (runs && this.#programs.has(word)) this.called.add(word);
      return false;
    }
    if (/^[A-Za-z_]\w*=/.test(word) || openers.has(word)) return true;
    if (word === "for") this.#skip(/[^;\n]*/y);
    else if (word === "case") {
      this.#skip(/\s*/y);
      this.#word();
      this.#skip(/\s*in\b/y);
      cases.push(true);
    } else if (word === "esac") {
      cases.pop();
    } else if (this.#skip(/[ ]*\(\)/y) !== "") {
      this.defined.add(word);
      return true;
    } else if (/^[a-zA-Z_.[:][\w.:[-]*$/.test(word)) this.called.add(word);
    return false;
  }

  #word(): string {
    const from = this.#at;
    while (this.#at < this.text.length && !/[\s;&|<>()]/.test(this.text[this.#at] ?? "")) this.#piece();
    if (this.#at === from) this.#at += 1;
    return this.text.slice(from, this.#at);
  }

  #piece(): void {
    const char = this.text[this.#at];
    if (char === "\\") this.#at += 2;
    else if (char === "'") this.#at = this.#after("'", this.#at + 1);
    else if (char === '"') {
      this.#at += 1;
      while (this.#at < this.text.length && this.text[this.#at] !== '"') this.#inDouble();
      this.#at += 1;
    } else this.#inDouble();
  }

  /** What double quotes leave its meaning. */
  #inDouble(): void {
    const rest = this.text.slice(this.#at, this.#at + 3);
    if (rest.startsWith("\\")) this.#at += 2;
    else if (rest === "$((") this.#at = this.#after("))", this.#at + 3);
    else if (rest.startsWith("$(")) {
      this.#at += 2;
      this.list(")");
    } else if (rest.startsWith("${")) this.#at = this.#after("}", this.#at + 2);
    else this.#at += 1;
  }

  #after(end: string, from: number): number {
    const found = this.text.indexOf(end, from);
    return found === -1 ? this.text.length : found + end.length;
  }

  #heredoc(word: string): void {
    while (this.#at < this.text.length) {
      const line = this.#skip(/[^\n]*/y);
      this.#at += 1;
      if (line === word) return;
    }
  }

  #is(word: string): boolean {
    return new RegExp(`${word}(?!\\w)`, "y").test(this.text.slice(this.#at, this.#at + word.length + 1));
  }

  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }
}
