#!/bin/sh
# Runs LiteLLM in two slots, as the sidecar says. Mounted into the unmodified LiteLLM container as
# its entrypoint. The sidecar writes one folder, this script only reads it:
#
#   a/ is there   a LiteLLM runs in slot a, with the master key in a/master.key and, where there is
#                 one, the configuration in a/config/config.yaml
#   a/ is gone    that LiteLLM is told to stop (SIGTERM) and finishes what it has in hand
#   a/ is new     the one, then the other
#
# A folder comes and goes by one rename, so what is there is whole. A LiteLLM that dies is started
# again, after a pause that grows. SIGTERM and SIGINT end all of them gracefully, then this script.
# Where this script is killed, they are told to stop within a few looks.
#
# This script writes the other folder, the sidecar only reads it. In a.log (b.log), made anew for
# each start of a LiteLLM, mode 0640, stand
#
#   slot-id <text of a/id>   what was started
#   try <n>                  1 for the first start of that, 2 after a death, and so on
#   ...                      LiteLLM's first 1,000 lines, each cut to 2,000 characters, its key
#                            replaced by [key]; a line that looks like the next is indented
#   ended <exit status>      once it has ended; 128 and more where a signal ended it
#
# In launcher stands, once this script runs, what every LiteLLM is given: GRACEFUL_SHUTDOWN_TIMEOUT=…
#
# A report goes when the slot is empty and its LiteLLM has ended. Nothing depends on it: without that
# folder, or with a full disk, LiteLLM runs as well.
#
# usage: launch-litellm.sh [argument of litellm]...      every argument but --port is passed on
#   LAUNCHER_SLOTS   the folder of the slots (/slots)
#   LAUNCHER_REPORTS the folder of the reports (/reports)
#   LAUNCHER_PORT_A  port of the LiteLLM in slot a (4000)
#   LAUNCHER_PORT_B  port of the LiteLLM in slot b (4002; 4001 is LiteLLM's own health port)
#   LAUNCHER_LOOK    seconds between two looks at the folder (0.5)
#   LITELLM_BIN      the program; else the image's own docker/prod_entrypoint.sh, else litellm
set -u

slots=${LAUNCHER_SLOTS:-/slots}
reports=${LAUNCHER_REPORTS:-/reports}
look=${LAUNCHER_LOOK:-0.5}
sleep 0.01 2>/dev/null || look=1 # POSIX promises whole seconds only

# Time is counted in looks: a clock that jumps changes nothing.
first_pause=2    # 1 s, doubled by each death
longest_pause=60 # 30 s
long_life=120    # 60 s: after that, a death is the first one again
patience=10      # 5 s for a LiteLLM that was told to stop to let go of its port

report_lines=1000
report_columns=2000
line_end='
'

# Since 1.108 LiteLLM cancels what it has in hand 30 s after a SIGTERM. It finishes here, for a day:
# the sidecar has a limit of its own (SIDECAR_DRAIN), and so has whoever stops the container.
GRACEFUL_SHUTDOWN_TIMEOUT=${GRACEFUL_SHUTDOWN_TIMEOUT:-86400}
export GRACEFUL_SHUTDOWN_TIMEOUT

# The key reaches LiteLLM from its slot and from nowhere else. A `key` that came in the environment
# would take every value of ours out with it.
unset LITELLM_MASTER_KEY key

if [ -n "${LITELLM_BIN:-}" ]; then
  program=$LITELLM_BIN
elif [ -x docker/prod_entrypoint.sh ]; then
  program=docker/prod_entrypoint.sh
elif [ -x /app/docker/prod_entrypoint.sh ]; then
  program=/app/docker/prod_entrypoint.sh
else
  program=litellm
fi

# Whether somebody listens or not: who has something to end must not end of a SIGPIPE before.
say() { (trap '' PIPE && printf 'launcher: %s\n' "$*" >&2); }

alive() { kill -0 "$1" 2>/dev/null; }

# A signal ends the nap: a shell runs no trap while it waits for a program in the foreground.
nap() { sleep "$look" & wait "$!"; }

# What tells the folder in a slot from the one before it; nothing where there is none. The id is
# the sidecar's; an inode number alone is soon used again.
identity() {
  if [ -d "$slots/$1" ]; then
    ls -di "$slots/$1" 2>/dev/null
    cat "$slots/$1/id" 2>/dev/null
  fi
}

# Keeps one slot, until it is told to stop. Runs in a shell of its own, so that a LiteLLM that
# crashes in one slot never keeps the other waiting.
keep() {
  slot=$1 port=$2
  shift 2
  keeper=$(exec sh -c 'echo "$PPID"') # $$ is the launcher, here too
  current='' running='' leaving='' stopping='' has_report=yes
  pause=0 next_pause=$first_pause life=0 waited=0 tries=0
  trap 'stopping=yes' TERM

  while :; do
    # Killed: nobody else tells LiteLLM to stop. A new launcher may rule the slot by now.
    [ -n "$stopping" ] || alive "$$" || stopping=yes
    wanted=''
    [ -n "$stopping" ] || wanted=$(identity "$slot")

    if [ -n "$running" ] && ! alive "$running"; then
      [ "$life" -lt "$long_life" ] || next_pause=$first_pause
      pause=$next_pause
      next_pause=$((next_pause * 2))
      [ "$next_pause" -le "$longest_pause" ] || next_pause=$longest_pause
      running=''
      [ "$wanted" != "$current" ] || say "slot $slot: LiteLLM is started again in $((pause / 2)) s"
    fi

    if [ "$wanted" != "$current" ]; then
      [ -z "$running" ] || say "slot $slot: LiteLLM is told to stop"
      leaving="$leaving $running"
      current=$wanted running='' waited=0 pause=0 next_pause=$first_pause tries=0
    fi
    dismiss

    # Not before the slot was looked at as empty: the signal may have come since.
    if [ -n "$stopping" ] && [ -z "$current$leaving" ]; then
      exit 0
    elif [ -z "$current" ] || [ -n "$running" ]; then
      life=$((life + 1))
      [ -n "$current$leaving" ] || forget_report
    elif [ "$pause" -gt 0 ]; then
      pause=$((pause - 1))
    elif [ -n "$leaving" ] && [ "$waited" -lt "$patience" ]; then
      # LiteLLM finds port 4000 taken and goes to another one, where nobody looks for it. One that
      # was told to stop lets go of its port at once, but then finishes its streams for as long as
      # they last: the next one does not wait for those.
      waited=$((waited + 1))
    else
      say "slot $slot: LiteLLM starts on port $port"
      tries=$((tries + 1)) life=0
      begin_report
      start "$@" 4>>"$draft" || start "$@" 4>/dev/null
    fi
    nap
  done
}

# Tells those that leave to stop, and forgets those that are gone. Said again at each look, since
# the first may come too early; `attend` passes on one.
dismiss() {
  remaining=''
  for one in $leaving; do
    if alive "$one"; then
      kill -TERM "$one" 2>/dev/null
      remaining="$remaining $one"
    fi
  done
  leaving=$remaining
}

# Writes the head of a report where nobody looks for it. Where that fails there is no report, the
# one before included: it would be taken for this one.
begin_report() {
  draft=$reports/.$slot.log has_report=yes
  id=${current#*"$line_end"}
  [ "$id" != "$current" ] || id=''
  rm -f "$draft"
  (umask 0137 && printf 'slot-id %s\ntry %s\n' "${id%%"$line_end"*}" "$tries" >"$draft") && return
  rm -f "$reports/$slot.log" "$draft"
  draft=/dev/null
} 2>/dev/null

forget_report() {
  [ -z "$has_report" ] || rm -f "$reports/$slot.log" "$reports/.$slot.log" 2>/dev/null
  has_report=''
}

# Starts what was looked at. Its words go into the file that is open as 4, whatever becomes of the
# name of that file: a LiteLLM that leaves writes on beside the next one.
start() {
  [ "$draft" = /dev/null ] || mv -f "$draft" "$reports/$slot.log" 2>/dev/null
  # Read once, so that what LiteLLM gets is what its report does not show.
  readable=yes
  key=$(cat "$slots/$slot/master.key") || readable=''
  begin "$@" | attend &
  running=$! # of `attend`, the last of the two
  key=''
}

# Runs one LiteLLM to its end. Its output is: its process id, what LiteLLM says, the mark, the
# status that LiteLLM ended with.
begin() {
  trap : TERM # where the whole process group is told to stop, LiteLLM finishes, and then we do
  if [ -z "$readable" ]; then
    no_key="slot $slot: no key for $(id): is this user in the group of the slots folder?"
    say "$no_key"
    printf '%s\nended 1\n' "$no_key" >&4 2>/dev/null
    return
  fi
  if [ -e "$slots/$slot/config/config.yaml" ]; then
    set -- "$@" --config "$slots/$slot/config/config.yaml"
  fi
  # The key is in the environment of this one process, and no argument: those are for all to see.
  # shellcheck disable=SC2016 # expanded by the inner shell, which becomes LiteLLM
  LITELLM_MASTER_KEY=$key sh -c 'echo "$$"; exec "$@"' sh "$program" "$@" --port "$port" 2>&1 4>&-
  status=$?
  say "slot $slot: LiteLLM ended with status $status"
  # Not left to the end of the output: a child that outlives LiteLLM holds that open.
  printf '%s\n%s\n' "$mark" "$status"
}

# Passes on what LiteLLM says, and one SIGTERM to it: the keeper's, or where the keeper is gone one
# of its own. Ends when LiteLLM does.
attend() {
  trap '' TERM
  read -r litellm || return
  exec 3<&0 # a command in the background gets an empty standard input
  pass_on <&3 3<&- &
  # Nobody but `pass_on` may read: where it is gone, LiteLLM would wait for ever to be read.
  exec 3<&- 4>&- </dev/null
  told=''
  trap tell TERM
  while alive "$litellm"; do
    alive "$keeper" || tell
    nap
  done
}

tell() {
  [ -n "$told" ] || kill -TERM "$litellm" 2>/dev/null
  told=yes
}

# Line by line at once, told apart by slot; the first lines also into the report, which is open as
# 4, and the status that comes after the mark, as the last line of all.
pass_on() {
  lines=0 marked=''
  [ "$draft" != /dev/null ] || lines=$report_lines
  while [ -z "$marked" ]; do
    if [ "$lines" -ge "$report_lines" ] && [ -n "$prompt_sed" ]; then
      sed -un -e "/^$mark\$/q" -e "s/^/[$slot] /" -e "/$mark\$/{s///p" -e q -e '}' -e p
      break
    fi
    IFS= read -r line || [ -n "$line" ] || return
    case $line in
      *"$mark")
        # What LiteLLM said last may lack the end of its line.
        marked=yes line=${line%"$mark"}
        [ -n "$line" ] || break
        ;;
    esac
    [ "$lines" -ge "$report_lines" ] || report "$line"
    printf '[%s] %s\n' "$slot" "$line"
  done
  read -r status && printf 'ended %s\n' "$status" >&4 2>/dev/null
  exec 4>&-
  # What comes now is of a child that outlives LiteLLM.
  [ -z "$prompt_sed" ] || exec sed -u "s/^/[$slot] /"
  while IFS= read -r line || [ -n "$line" ]; do
    printf '[%s] %s\n' "$slot" "$line"
  done
}

# Writes a line into the report: cut, and without the key.
report() {
  rest=$1 shown='' part=''
  if [ "${#rest}" -gt "$report_columns" ]; then
    # Cut first: what follows takes the square of a line's length. The cut may leave the beginning
    # of a key.
    rest=$(printf "%.${report_columns}s" "$rest")
    part=$key
  fi
  while [ -n "$key" ]; do
    case $rest in
      *"$key"*) ;;
      *) break ;;
    esac
    shown="$shown${rest%%"$key"*}[key]"
    rest=${rest#*"$key"}
  done
  while [ -n "$part" ]; do
    case $rest in
      *"$part") rest=${rest%"$part"} part='' ;;
      *) part=${part%?} ;;
    esac
  done
  shown=$shown$rest
  case $shown in
    'ended '[0-9]*) shown=" $shown" ;;
  esac
  printf "%.${report_columns}s\n" "$shown" >&4 2>/dev/null
  lines=$((lines + 1))
}

# Each slot has a port of its own: the one among the arguments goes.
count=$#
while [ "$count" -gt 0 ]; do
  case $1 in
    --port)
      [ "$count" -eq 1 ] || { shift && count=$((count - 1)); }
      ;;
    --port=*) ;;
    *) set -- "$@" "$1" ;;
  esac
  shift
  count=$((count - 1))
done

# The sed of a small image has no -u and would hold lines back; another one reads further than it
# needs, and what comes after the mark is lost.
prompt_sed=''
[ "$(printf 'a\nb\n' | { sed -u q >/dev/null && cat; } 2>/dev/null)" != b ] || prompt_sed=yes

# Comes after LiteLLM's last words. Random, so that nobody can make LiteLLM say it.
mark=launcher-$$-$(od -An -N8 -tx1 /dev/urandom 2>/dev/null | tr -d ' \n')

given="GRACEFUL_SHUTDOWN_TIMEOUT=$GRACEFUL_SHUTDOWN_TIMEOUT"
(umask 0137 && printf '%s\n' "$given" >"$reports/.launcher") 2>/dev/null ||
  say "$reports cannot be written by $(id): nobody else learns why a LiteLLM does not start"
mv -f "$reports/.launcher" "$reports/launcher" 2>/dev/null

keep a "${LAUNCHER_PORT_A:-4000}" "$@" &
keepers=$!
keep b "${LAUNCHER_PORT_B:-4002}" "$@" &
keepers="$keepers $!"

# shellcheck disable=SC2064,SC2086 # both as they are now
trap "kill -TERM $keepers 2>/dev/null" TERM INT
[ -x "$slots" ] || say "$slots is closed to $(id): is this user in the group of that folder?"
say "waits for $slots/a and $slots/b"
until wait; do :; done
