/* The doorbell (src/bell.rs): two senders, one receiver, no timeout.

   Sender 1 may be killed anywhere. The receiver may be killed and started again, RD times. Claim `live`: once sender 0 has
   returned from its sends, its messages are received.

   The word `sleeps` is written by the receiver alone (odd: asleep), `seq` by the senders alone. A sender rings at most
   once per sleep, and remembers in `rung` for which one. Every step is sequentially consistent: the fences are loom's
   business.

   -DLEAVE_ODD takes away a rule: a new receiver leaves the count of one that died asleep as it is. Then `live` fails. */

#define SENDERS 2
#define MESSAGES 2
#ifndef RD
#define RD 1
#endif

byte committed[SENDERS]; byte got[SENDERS]; bit done[SENDERS];
byte seq; byte sleeps;
bit asleep;                        /* in the kernel, waiting on seq */
bit deaths;

proctype sender(byte i; bit mortal) {
  byte rung = 0; byte sent = 0; byte w;
  do
  :: sent < MESSAGES ->
     if :: mortal -> goto dead :: true fi;
     committed[i]++;
     if :: mortal -> goto dead :: true fi;
     w = sleeps;
     if
     :: (w & 1) && w != rung ->
        seq++;
        if :: mortal -> goto dead :: true fi;
        asleep = 0;                /* wake all */
        rung = w
     :: else
     fi;
     sent++
  :: else -> break
  od;
  done[i] = 1;
dead: skip
}

active proctype receiver() {
  byte s;
restart:
#ifndef LEAVE_ODD
  if :: (sleeps & 1) -> sleeps++ :: else fi;
#endif
  do
  :: atomic { got[0] < committed[0] -> got[0]++ }
  :: atomic { got[1] < committed[1] -> got[1]++ }
  :: deaths < RD -> deaths++; goto restart
  :: got[0] == committed[0] && got[1] == committed[1] ->
     s = seq;
     if :: deaths < RD -> deaths++; goto restart :: true fi;
     sleeps++;
     if :: deaths < RD -> deaths++; goto restart :: true fi;
     if
     :: got[0] < committed[0] || got[1] < committed[1] -> sleeps++
     :: else ->
        atomic { if :: seq == s -> asleep = 1 :: else -> asleep = 0 fi };   /* futex wait */
        if :: deaths < RD -> deaths++; asleep = 0; goto restart :: (asleep == 0) fi;
        sleeps++
     fi
  od
}

init { atomic { run sender(0, 0); run sender(1, 1) } }

ltl live { [] (done[0] -> <> (got[0] == MESSAGES)) }
