#!/bin/sh
# Runs LiteLLM in two slots, as the sidecar says. Mounted into the unmodified LiteLLM container as
# its entrypoint. The sidecar writes a folder, this script only reads it:
#
#   a/ is there   a LiteLLM runs in slot a, with the master key in a/master.key and, where there is
#                 one, the configuration in a/config/config.yaml
#   a/ is gone    that LiteLLM is told to stop (SIGTERM) and finishes what it has in hand
#   a/ is new     the one, then the other
#
# A folder comes and goes by one rename, so what is there is whole. A LiteLLM that dies is started
# again, after a pause that grows. SIGTERM and SIGINT end all of them gracefully, then this script.
#
# usage: launch-litellm.sh [argument of litellm]...      every argument but --port is passed on
#   LAUNCHER_SLOTS   the folder of the slots (/slots)
#   LAUNCHER_PORT_A  port of the LiteLLM in slot a (4000)
#   LAUNCHER_PORT_B  port of the LiteLLM in slot b (4002; 4001 is LiteLLM's own health port)
#   LAUNCHER_LOOK    seconds between two looks at the folder (0.5)
#   LITELLM_BIN      the program; else the image's own docker/prod_entrypoint.sh, else litellm
set -u

slots=${LAUNCHER_SLOTS:-/slots}
look=${LAUNCHER_LOOK:-0.5}
sleep 0.01 2>/dev/null || look=1 # POSIX promises whole seconds only

# Time is counted in looks: a clock that jumps changes nothing.
first_pause=2    # 1 s, doubled by each death
longest_pause=60 # 30 s
long_life=120    # 60 s: after that, a death is the first one again
patience=10      # 5 s for a LiteLLM that was told to stop to let go of its port

# The key reaches LiteLLM from its slot and from nowhere else.
unset LITELLM_MASTER_KEY

if [ -n "${LITELLM_BIN:-}" ]; then
  program=$LITELLM_BIN
elif [ -x docker/prod_entrypoint.sh ]; then
  program=docker/prod_entrypoint.sh
elif [ -x /app/docker/prod_entrypoint.sh ]; then
  program=/app/docker/prod_entrypoint.sh
else
  program=litellm
fi

say() { printf 'launcher: %s\n' "$*" >&2; }

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
  current='' running='' leaving='' stopping=''
  pause=0 next_pause=$first_pause life=0 waited=0
  trap 'stopping=yes' TERM

  while :; do
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
      current=$wanted running='' waited=0 pause=0 next_pause=$first_pause
    fi
    dismiss

    # Not before the slot was looked at as empty: the signal may have come since.
    if [ -n "$stopping" ] && [ -z "$current$leaving" ]; then
      exit 0
    elif [ -z "$current" ] || [ -n "$running" ]; then
      life=$((life + 1))
    elif [ "$pause" -gt 0 ]; then
      pause=$((pause - 1))
    elif [ -n "$leaving" ] && [ "$waited" -lt "$patience" ]; then
      # LiteLLM finds port 4000 taken and goes to another one, where nobody looks for it. One that
      # was told to stop lets go of its port at once, but then finishes its streams for as long as
      # they last: the next one does not wait for those.
      waited=$((waited + 1))
    else
      say "slot $slot: LiteLLM starts on port $port"
      begin "$@" | attend &
      running=$! life=0 # of `attend`, the last of the two
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

# Runs one LiteLLM to its end. Its output is: its process id, then what LiteLLM says.
begin() {
  trap : TERM # where the whole process group is told to stop, LiteLLM finishes, and then we do
  key=$(cat "$slots/$slot/master.key") || {
    say "slot $slot: no key for $(id): is this user in the group of the slots folder?"
    return
  }
  if [ -e "$slots/$slot/config/config.yaml" ]; then
    set -- "$@" --config "$slots/$slot/config/config.yaml"
  fi
  # The key is in the environment of this one process, and no argument: those are for all to see.
  # shellcheck disable=SC2016 # expanded by the inner shell, which becomes LiteLLM
  LITELLM_MASTER_KEY=$key sh -c 'echo "$$"; exec "$@"' sh "$program" "$@" --port "$port" 2>&1
  say "slot $slot: LiteLLM ended with status $?"
}

# Passes on what LiteLLM says, told apart by slot, and the first SIGTERM to it; ends when it ends.
attend() {
  trap '' TERM
  read -r litellm || return
  exec 3<&0 # a command in the background gets an empty standard input
  prefix <&3 3<&- &
  trap 'trap "" TERM; kill -TERM "$litellm" 2>/dev/null' TERM
  # Not until its output ends: a child that outlives it holds that open.
  while alive "$litellm"; do nap; done
}

# Line by line at once. The sed of a small image has no -u, and would hold lines back.
prefix() {
  if sed -u p </dev/null 2>/dev/null; then
    exec sed -u "s/^/[$slot] /"
  fi
  while IFS= read -r line || [ -n "$line" ]; do
    printf '[%s] %s\n' "$slot" "$line"
  done
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

keep a "${LAUNCHER_PORT_A:-4000}" "$@" &
keepers=$!
keep b "${LAUNCHER_PORT_B:-4002}" "$@" &
keepers="$keepers $!"

# shellcheck disable=SC2064,SC2086 # both as they are now
trap "kill -TERM $keepers 2>/dev/null" TERM INT
[ -x "$slots" ] || say "$slots is closed to $(id): is this user in the group of that folder?"
say "waits for $slots/a and $slots/b"
until wait; do :; done
