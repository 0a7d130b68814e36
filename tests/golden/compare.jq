# jq -n --slurpfile want W --slurpfile got G -f compare.jq: fails unless G has W's keys and values, numbers to 1e-9.
def leaves: [paths(type != "object" and type != "array")] | sort;
$want[0] as $w | $got[0] as $g
| if ($w | leaves) != ($g | leaves) then error("keys differ: \(($w | leaves) - ($g | leaves)) \(($g | leaves) - ($w | leaves))") else . end
| [ ($w | leaves)[] as $p | ($w | getpath($p)) as $a | ($g | getpath($p)) as $b
    | select(if ($a | type) == "number" and ($b | type) == "number" then (($a - $b) | fabs) <= 1e-9 * (1 + ($a | fabs)) | not else $a != $b end)
    | { path: $p, want: $a, got: $b } ]
| if length == 0 then "same" else error(tojson) end
