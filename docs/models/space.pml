/* The doorbell used twice (src/lane.rs): a ring with room for one message, whose sender sleeps until there is room and
   whose receiver sleeps until there is a message. No timeout. Claim `live`: MESSAGES messages get through.

   -DONE_FLAG is the protocol that was discarded: the sleeper's flag says only that it sleeps, and the ringer remembers
   the `seq` that it left. Two sleeps cannot be told apart then, and `live` fails. */

#define MESSAGES 4

byte written, released;
byte bell, room;                   /* the two seq words */
byte receiver_sleeps, sender_sleeps;
bit receiver_asleep, sender_asleep;
bit done;

active proctype sender() {
  byte rung = 0; byte w, s;
  do
  :: written == MESSAGES -> break
  :: written < MESSAGES && written == released ->
     written++;
     w = receiver_sleeps;
     if :: (w & 1) && w != rung -> bell++; receiver_asleep = 0; rung = w :: else fi
  :: written < MESSAGES && written != released ->
     s = room;
#ifdef ONE_FLAG
     sender_sleeps = 1;
#else
     sender_sleeps++;
#endif
     if
     :: written == released
     :: else ->
        atomic { if :: room == s -> sender_asleep = 1 :: else -> sender_asleep = 0 fi };   /* futex wait */
        (sender_asleep == 0)
     fi;
#ifdef ONE_FLAG
     sender_sleeps = 0
#else
     sender_sleeps++
#endif
  od;
  done = 1
}

active proctype receiver() {
  byte rung = 0; byte w, s;
  do
  :: released < written ->
     released++;
#ifdef ONE_FLAG
     if :: sender_sleeps && room != rung -> room++; rung = room; sender_asleep = 0 :: else fi
#else
     w = sender_sleeps;
     if :: (w & 1) && w != rung -> room++; sender_asleep = 0; rung = w :: else fi
#endif
  :: released == written ->
     s = bell;
     receiver_sleeps++;
     if
     :: released < written
     :: else ->
        atomic { if :: bell == s -> receiver_asleep = 1 :: else -> receiver_asleep = 0 fi };   /* futex wait */
        (receiver_asleep == 0)
     fi;
     receiver_sleeps++
  od
}

ltl live { <> done }
