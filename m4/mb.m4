# MB_COMPILER_FLAGS: C11, the warnings of this project (errors with --enable-werror), hardening.
AC_DEFUN([MB_COMPILER_FLAGS], [
  AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [warnings are errors])])
  MB_CFLAGS="-std=gnu11 -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-format-zero-length -fno-strict-aliasing -fstack-protector-strong"
  AS_IF([test "x$enable_werror" = xyes], [MB_CFLAGS="$MB_CFLAGS -Werror"])
  AS_CASE([" $CFLAGS "], [*" -O0 "*|*" -D_FORTIFY_SOURCE"*], [], [MB_CPPFLAGS="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])
  MB_LDFLAGS="-Wl,-z,relro,-z,now"
  AC_SUBST([MB_CFLAGS])
  AC_SUBST([MB_CPPFLAGS])
  AC_SUBST([MB_LDFLAGS])
])

# MB_SANITIZERS: --enable-sanitizers builds everything with ASan and UBSan.
AC_DEFUN([MB_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers], [AS_HELP_STRING([--enable-sanitizers], [build with ASan and UBSan])])
  AS_IF([test "x$enable_sanitizers" = xyes], [
    MB_CFLAGS="$MB_CFLAGS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    MB_CPPFLAGS=""
    AC_DEFINE([MB_SANITIZED], [1], [built with sanitizers])
  ])
  AM_CONDITIONAL([SANITIZED], [test "x$enable_sanitizers" = xyes])
])

# MB_FUZZING: --enable-fuzzing builds everything for clang's libFuzzer, whose main() then takes the
# place of tests/fuzz/driver.c.
AC_DEFUN([MB_FUZZING], [
  AC_ARG_ENABLE([fuzzing], [AS_HELP_STRING([--enable-fuzzing], [build the fuzz targets with libFuzzer, ASan and UBSan (needs clang)])])
  AS_IF([test "x$enable_fuzzing" = xyes], [
    mb_fuzzer=`$CC -print-file-name=libclang_rt.fuzzer-$host_cpu.a`
    AS_IF([test ! -f "$mb_fuzzer"],
          [AC_MSG_ERROR([--enable-fuzzing needs CC=clang and its runtime (Debian: clang libclang-rt-14-dev)])])
    MB_CFLAGS="$MB_CFLAGS -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    MB_CPPFLAGS=""
    FUZZER_LIBS="$mb_fuzzer -lstdc++ -lm"
  ])
  AC_SUBST([FUZZER_LIBS])
  AM_CONDITIONAL([FUZZING], [test "x$enable_fuzzing" = xyes])
])

# MB_FAULTS: --enable-faults builds the places in at which tests kill the daemon (src/loop/fault.h).
AC_DEFUN([MB_FAULTS], [
  AC_ARG_ENABLE([faults], [AS_HELP_STRING([--enable-faults], [build in the places at which tests kill the daemon; never for use])])
  AS_IF([test "x$enable_faults" = xyes], [MB_CPPFLAGS="$MB_CPPFLAGS -DMB_FAULTS"])
  AM_CONDITIONAL([FAULTS], [test "x$enable_faults" = xyes])
])

# MB_ED25519_RULE: a fork starts where two replicas disagree on one signature. Refuse a libsodium
# that does not follow the one rule in every case of m4/ed25519-vectors.h.
AC_DEFUN([MB_ED25519_RULE], [
  AC_MSG_CHECKING([that libsodium verifies Ed25519 by the one rule])
  mb_save_LIBS=$LIBS; mb_save_CFLAGS=$CFLAGS
  LIBS="$LIBS $SODIUM_LIBS"; CFLAGS="$CFLAGS $SODIUM_CFLAGS"
  AC_RUN_IFELSE([AC_LANG_SOURCE([[#include "$srcdir/m4/ed25519-rule.c"]])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no]); AC_MSG_ERROR([this libsodium judges signatures otherwise than every other replica (config.log names the case): install Debian 12's libsodium-dev])],
    [AC_MSG_RESULT([cross-compiling: not tested])])
  LIBS=$mb_save_LIBS; CFLAGS=$mb_save_CFLAGS
])
