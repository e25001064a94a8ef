/**
 * A stand-in for semanage(8), which edits the file `$FOLDER/local` as 3.4 does: it takes quotes away, appends, and
 * refuses what is there already or is not there.
 */
export const semanage = `#!/bin/sh
[ "$1" = import ] || exit 2
cat > "$FOLDER/asked"
[ ! -e "$FOLDER/locked" ] || { rm "$FOLDER/locked"; echo 'Could not get direct transaction lock at /x/semanage.trans.LOCK.' >&2; exit 1; }
exec awk -v file="$FOLDER/local" '
BEGIN { while ((getline line < file) > 0) { n++; rule[n] = line; split(line, word, " "); at[word[1]] = n } }
{ for (i = 1; i <= NF; i++) { quote = substr($i, 1, 1); if (quote == "\\047" || quote == "\\042") gsub("^" quote "|" quote "$", "", $i) }
  pattern = $NF; kind = ""; for (i = 1; i < NF; i++) { if ($i == "-f") letter = $(i + 1); if ($i == "-s") user = $(i + 1); if ($i == "-t") type = $(i + 1); if ($i == "-r") range = ":" $(i + 1) } }
$2 == "-d" { if (!(pattern in at)) { print "not defined" > "/dev/stderr"; failed = 1; exit }; rule[at[pattern]] = ""; delete at[pattern] }
$2 == "-a" { if (pattern in at) { print "already defined" > "/dev/stderr"; failed = 1; exit }
  rule[++n] = pattern (letter == "a" ? "" : letter == "f" ? " --" : " -" letter) " " (type == "<<none>>" ? type : user ":object_r:" type range); at[pattern] = n }
END { if (failed) exit 1; printf "" > file; for (i = 1; i <= n; i++) if (rule[i] != "") print rule[i] > file }' "$FOLDER/asked"
`;
