import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run, temporary } from "../support/Program.ts"

/** A command line that is being typed, and what is offered at its end. */
const typed = [
  ["truss-webhooks ", ["demo", "serve", "listen", "types", "webhooks", "doctor"], ["create"]],
  ["truss-webhooks li", ["listen"], ["doctor"]],
  ["truss-webhooks listen --f", ["--forward-to"], ["--table"]],
  ["truss-webhooks listen --url serve --r", ["--replay-failed"], ["--port"]],
  ["truss-webhooks webhooks l", ["list", "logs"], ["get"]],
  ["truss-webhooks keys create --scope ", ["read", "write"], ["--name"]]
] as const

const shells: ReadonlyArray<{
  readonly name: "bash" | "zsh" | "fish"
  /** What prints, a line each, what the shell offers at the end of `line`. */
  readonly script: (completions: string, line: string) => string
  readonly flags: ReadonlyArray<string>
}> = [
  {
    name: "bash",
    flags: ["--norc", "--noprofile"],
    // As readline does it: the function that `complete -p` names, with the words in its variables.
    script: (file, line) => `
      source ${file}
      spec=$(complete -p truss-webhooks); fn=\${spec#*-F }; fn=\${fn%% *}
      COMP_LINE='${line}'; COMP_POINT=\${#COMP_LINE}; read -ra COMP_WORDS <<<"$COMP_LINE"
      [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
      COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
      $fn truss-webhooks "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD-1]}"
      printf '%s\\n' "\${COMPREPLY[@]}"`
  },
  {
    name: "zsh",
    flags: ["-f"],
    // Tab in a terminal of its own: only there does zsh complete.
    script: (file, line) => `
      zmodload zsh/zpty
      zpty shell zsh -f -i
      zpty -w shell 'PROMPT=; autoload -Uz compinit; compinit -u -D; LISTMAX=0'
      zpty -w shell 'source ${file}; setopt no_beep; bindkey -e; bindkey "^X" list-choices; echo READY-$((1 + 1))'
      while zpty -r shell seen; do [[ $seen == *READY-2* ]] && break; done
      zpty -w -n shell $'${line}\\x18'
      zpty -w -n shell $'\\x01\\x0becho END-$((1 + 1))\\n'
      while zpty -r shell seen; do print -r -- "$seen"; [[ $seen == *END-2* ]] && break; done
      zpty -d shell`
  },
  { name: "fish", flags: ["--no-config"], script: (file, line) => `source ${file}; complete -C '${line}'` }
]

for (const { flags, name, script } of shells) {
  const shell = [`/usr/bin/${name}`, `/bin/${name}`].find((path) => existsSync(path))
  describe.skipIf(shell === undefined)(
    `completions for ${name}${shell === undefined ? ` (skipped: apt install ${name})` : ""}`,
    () => {
      it.live("offer commands, flags and values as they are typed", () =>
        Effect.gen(function*() {
          const folder = yield* temporary
          const printed = yield* run(["--completions", name])
          assert.strictEqual(printed.code, 0, printed.stderr)
          const file = join(folder, "completions")
          writeFileSync(file, printed.stdout)
          for (const [line, offered, others] of typed) {
            const { status, stderr, stdout } = spawnSync(shell!, [...flags, "-c", script(file, line)], {
              env: { PATH: "/usr/bin:/bin", HOME: folder, TERM: "xterm" },
              encoding: "utf8",
              timeout: 30_000
            })
            assert.strictEqual(status, 0, stderr)
            // oxlint-disable-next-line no-control-regex
            const words = stdout.replaceAll(/\x1b\[[\d;?]*[A-Za-z]/g, " ").split(/\s+/)
            assert.includeMembers(words, [...offered], `${line}: ${stdout}${stderr}`)
            for (const other of others) assert.notInclude(words, other, `${line}: ${stdout}`)
          }
        }))
    }
  )
}
