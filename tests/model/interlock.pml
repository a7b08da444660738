/* The interlock of edge/interlock.py as a model for spin, with its promises as claims.
 *
 *   spin -a interlock.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan   two rulers, nobody's orders
 *   spin -DORDERS -a interlock.pml && ...                            one ruler, and orders
 *   spin -DCALM -a interlock.pml && cc ... && ./pan -a -N clears     a dry road turns green
 *   spin -DTABLE -T -B interlock.pml                                 the two decision tables
 *
 * tests/system/test_model.py runs them all, and compares the tables with those of the code. Orders
 * and a second ruler together have more histories than a test can wait for.
 * Time goes in ticks; a hold lasts HOLD of them, a ruler is stale after STALE. A ruler has
 * five classes of depth: 0 under the amber clear threshold, 1 under amber, 2 under the red clear
 * threshold, 3 under red, 4 at red and above.
 */

#define HOLD  2
#define STALE 2
#define RISE  2
#ifdef ORDERS
#define RULERS 1
#else
#define RULERS 2
#endif

/* bands */
#define NOT_KNOWN 3
#define B_GREEN 0
#define B_AMBER 1
#define B_RED   2

/* aspects by severity; 0 is none */
#define GREEN 1
#define FLASH 2
#define AMBER 3
#define RED   4

#define SHOWS(b) (b == B_GREEN -> GREEN : (b == B_AMBER -> AMBER : RED))
#define MOST(a, b)  (a > b -> a : b)
#define LEAST(a, b) (a < b -> a : b)

/* what the water demands: next_band() */
inline next_band(band, healthy, fresh, confirmed, stands, settled, served, may_fall, result) {
  if
  :: !healthy -> result = band
  :: else ->
     if
     :: (fresh || band == NOT_KNOWN) -> demanded = MOST(confirmed, stands)
     :: else -> demanded = confirmed
     fi;
     if
     :: (band == NOT_KNOWN || demanded > band) -> result = demanded
     :: else ->
        if
        :: (settled < band && served && (band < B_RED || may_fall)) -> result = band - 1
        :: else -> result = band
        fi
     fi
  fi
}

/* what the signal shows: aspect() */
inline aspect(band, healthy, over_red, safe, floor, ceiling, result) {
  if
  :: band == NOT_KNOWN -> result = safe
  :: else -> result = SHOWS(band)
  fi;
  if
  :: !healthy -> result = MOST(result, safe)
  :: else -> skip
  fi;
  if
  :: ceiling != 0 ->
     if
     :: over_red -> lowest = AMBER
     :: else -> lowest = GREEN
     fi;
     if
     :: !healthy -> lowest = MOST(lowest, safe)
     :: else -> skip
     fi;
     lowest = MOST(ceiling, lowest);
     result = LEAST(result, lowest)
  :: else -> skip
  fi;
  result = MOST(result, floor)
}

/* hidden: worth nothing between two steps, so no part of the state */
hidden byte demanded, lowest;

#ifdef TABLE

byte band, healthy, fresh, confirmed, stands, settled, served, may_fall, over_red, safe, floor, ceiling;
byte result;

active proctype table() {
  for (band : 0 .. 3) { for (healthy : 0 .. 1) { for (fresh : 0 .. 1) {
  for (confirmed : 0 .. 2) { for (stands : 0 .. 2) { for (settled : 0 .. 2) {
  for (served : 0 .. 1) { for (may_fall : 0 .. 1) {
    next_band(band, healthy, fresh, confirmed, stands, settled, served, may_fall, result);
    printf("B %d %d %d %d %d %d %d %d %d\n",
      band, healthy, fresh, confirmed, stands, settled, served, may_fall, result)
  }}}}}}}}
  for (band : 0 .. 3) { for (healthy : 0 .. 1) { for (over_red : 0 .. 1) {
  for (safe : 2 .. 4) { for (floor : 0 .. 4) { for (ceiling : 0 .. 4) {
    aspect(band, healthy, over_red, safe, floor, ceiling, result);
    printf("A %d %d %d %d %d %d %d\n", band, healthy, over_red, safe, floor, ceiling, result)
  }}}}}}
}

#else

typedef Ruler {
  byte depth;     /* class of the last believed depth */
  byte age;       /* ticks since it was read, up to STALE + 1 */
  byte amber;     /* readings in a row at amber and above, up to RISE */
  byte red;
  byte healthy;   /* readings in a row, up to RISE */
  bool lost;
  bool met        /* has been healthy before */
}

Ruler rulers[RULERS];
byte band = NOT_KNOWN;
byte lamp;
byte safe;
byte hold = 0;            /* ticks for which the water has allowed the next lower band */
bool holding = false;
byte since_rise = HOLD;   /* ticks since the lamp last rose, up to HOLD */
byte waited = 0;          /* ticks since the start, up to STALE + 1 */
bool pending = true;      /* a ruler that was never heard is still waited for */
byte floor = 0, ceiling = 0;
bool latch, agreed = false;
hidden byte known_before, heard, healthy, fresh, served, may_fall, over_red;
hidden byte confirmed, stands, settled, new_band, wanted, old_band, before, speaker, i;

#define REACHED(d) ((d >= 2) + (d == 4))
#define SETTLED(d) ((d >= 1) + (d >= 3))
#define UP(n, limit) (n < limit -> n + 1 : limit)

/* One ruler is read in each tick: it gives a depth, or nothing, or something absurd. Time makes it
 * and the other one stale. */
inline listen(r) {
  if
#ifdef CALM
  :: rulers[r].depth = 0; heard = true
#else
  :: rulers[r].depth = 0; heard = true
  :: rulers[r].depth = 1; heard = true
  :: rulers[r].depth = 2; heard = true
  :: rulers[r].depth = 3; heard = true
  :: rulers[r].depth = 4; heard = true
  :: heard = false                                     /* silence: the counts go on */
  :: heard = false; rulers[r].amber = 0; rulers[r].red = 0; rulers[r].healthy = 0
#endif
  fi;
  if
  :: heard ->
     rulers[r].age = 0;
     rulers[r].amber = (rulers[r].depth >= 2 -> UP(rulers[r].amber, RISE) : 0);
     rulers[r].red = (rulers[r].depth == 4 -> UP(rulers[r].red, RISE) : 0);
     rulers[r].healthy = UP(rulers[r].healthy, RISE);
     rulers[r].lost = rulers[r].lost && rulers[r].healthy < RISE;
     rulers[r].met = rulers[r].met || !rulers[r].lost
  :: else -> rulers[r].age = UP(rulers[r].age, STALE + 1)
  fi;
  grow_old(r)
}

inline grow_old(r) {
  if
  :: (!rulers[r].lost && rulers[r].age > STALE) ->
     rulers[r].lost = true;
     rulers[r].amber = 0; rulers[r].red = 0; rulers[r].healthy = 0; rulers[r].depth = 0
  :: else -> skip
  fi
}

/* Orders come, end, and are withdrawn at any time; so does the switch beside the road (a floor). */
inline order() {
#ifdef ORDERS
  if
  :: skip
  :: floor = 0; ceiling = 0
  :: floor = AMBER; ceiling = 0
  :: floor = RED; ceiling = 0
  :: ceiling = GREEN; floor = 0
  :: ceiling = AMBER; floor = 0
  fi;
#else
  skip;
#endif
  if
  :: latch -> agreed = true
  :: skip
  fi
}

inline look() {
  confirmed = 0; stands = 0; settled = 0; healthy = false; over_red = false;
  for (i : 0 .. RULERS - 1) {
    if
    :: !rulers[i].lost ->
       healthy = true;
       confirmed = MOST(confirmed, (rulers[i].amber == RISE) + (rulers[i].red == RISE));
       stands = MOST(stands, REACHED(rulers[i].depth));
       settled = MOST(settled, SETTLED(rulers[i].depth));
       over_red = over_red || rulers[i].red == RISE
    :: else -> skip
    fi
  }
}

active proctype interlock() {
  atomic {
    for (i : 0 .. RULERS - 1) { rulers[i].lost = true };
    if :: safe = FLASH :: safe = AMBER :: safe = RED fi;
#ifdef CALM
    latch = false;
#else
    if :: latch = true :: latch = false fi;
#endif
    lamp = safe
  }
  do
  :: atomic {
       known_before = false;
       for (i : 0 .. RULERS - 1) { known_before = known_before || !rulers[i].lost };
       speaker = 0;
       if
       :: RULERS == 2 -> speaker = 1
       :: skip
       fi;
       listen(speaker);
       if
       :: RULERS == 2 ->
          i = 1 - speaker;
          rulers[i].age = UP(rulers[i].age, STALE + 1);
          grow_old(i)
       :: else -> skip
       fi;
       order();
       look();
       fresh = !known_before;
       /* the hold: time in which the water is low enough, seen by a healthy ruler */
       served = (band != NOT_KNOWN && settled < band && holding && hold >= HOLD);
       may_fall = (!latch || agreed);
       old_band = band;
       next_band(band, healthy, fresh, confirmed, stands, settled, served, may_fall, new_band);
       band = new_band;
       if
       :: (band == NOT_KNOWN || !healthy || settled >= band) -> holding = false; hold = 0
       :: else ->
          if
          :: (old_band != band || !holding) -> holding = true; hold = 0
          :: (old_band == band && holding && heard) -> hold = UP(hold, HOLD)
          :: else -> skip                              /* nothing was heard: it does not count */
          fi
       fi;
       aspect(band, healthy, over_red, safe, floor, ceiling, wanted);
       if
       :: (wanted < lamp && floor == 0 && ceiling == 0 && since_rise < HOLD) -> wanted = lamp
       :: else -> skip
       fi;
       pending = false;
       for (i : 0 .. RULERS - 1) { pending = pending || !rulers[i].met };
       pending = pending && waited <= STALE;
       if
       :: pending -> wanted = MOST(wanted, lamp)
       :: else -> skip
       fi;
       before = lamp;
       lamp = wanted;

       /* the promises */
       assert(!(over_red && lamp == GREEN));
       assert(!(over_red && floor == 0 && ceiling == 0 && lamp != RED));
       assert(healthy || lamp >= safe);
       assert(!(lamp < before && floor == 0 && ceiling == 0 && since_rise < HOLD));
       assert(!(pending && lamp < before));
       assert(!(old_band == B_RED && band < B_RED && !may_fall));
       assert(!(old_band != NOT_KNOWN && band < old_band - 1));
       assert(!(band < old_band && old_band != NOT_KNOWN && !served));

       waited = UP(waited, STALE + 1);
       since_rise = (lamp > before -> 0 : UP(since_rise, HOLD));
       agreed = agreed && band == B_RED && settled < B_RED
     }
  od
}

#ifdef CALM
ltl clears { <> [] (lamp == GREEN) }
#endif

#endif
