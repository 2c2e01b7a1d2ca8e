#!/bin/sh
# Runs once inside the Debian root of the lab (tests/vm/vm root): what the real programs of the cases work on, in /srv.
set -eu
mkdir -p /srv/debs /srv/c /srv/link /srv/java

# a repository whose pack is larger than the limits
git init -q -b main /srv/repo
cd /srv/repo
i=0
while [ $i -lt 800 ]; do
	mkdir -p d$((i % 60))
	head -c 40000 /dev/urandom | base64 >d$((i % 60))/f$i
	i=$((i + 1))
done
git add .
git -c user.name=lab -c user.email=lab@localhost commit -q -m all
git repack -qad
git config --system --add safe.directory '*'

# a package with much data and no dependencies
cd /srv/debs
apt-get download -q fonts-noto-cjk
dpkg-deb -R fonts-noto-cjk_*.deb x
rm -f fonts-noto-cjk_*.deb
dpkg-deb -Zzstd -z1 -b x fonts.deb >/dev/null # xz would be all there is to see under emulation
rm -rf x

# sources for cc, objects for ld
cd /srv/c
i=0
while [ $i -lt 8 ]; do
	awk -v f=$i 'BEGIN {
		print "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <math.h>\n#include <unistd.h>";
		for (k = 0; k < 20; k++)
			printf "int f%d_%d(int a, char *b, double *c) { for (int i = 0; i < a; i++) { c[i] = sin(c[i]) * %d; if (b[i] == %d) a += snprintf(b, 9, \"%%d\", i * a); else c[0] += c[i] / (i + 1); } return a + (int)strlen(b); }\n", f, k, k, k % 128;
	}' >f$i.c
	i=$((i + 1))
done
# shellcheck disable=SC2016 # make's
printf 'OBJS := $(patsubst %%.c,%%.o,$(wildcard *.c))\nlib.a: $(OBJS)\n\tar rcs $@ $^\n%%.o: %%.c\n\tgcc -g -c -o $@ $<\n' >Makefile
cd /srv/link
i=0
while [ $i -lt 12 ]; do
	head -c 16M /dev/urandom >blob
	awk -v f=$i 'BEGIN { for (k = 0; k < 20000; k++) printf ".globl s%d_%d\n.set s%d_%d, b+%d\n", f, k, f, k, k * 512 }' >o.s
	printf '.data\nb: .incbin "blob"\n' >>o.s
	gcc -c -o o$i.o o.s
	i=$((i + 1))
done
rm -f blob o.s
echo 'int main(void) { return 0; }' >main.c

# a heap that is nearly as large as -Xmx
cd /srv/java
cat >Churn.java <<-'E'
	public class Churn {
		public static void main(String[] a) {
			int keep = Integer.parseInt(a[0]);
			long end = System.nanoTime() + Long.parseLong(a[1]) * 1000000000L, n = 0;
			byte[][] live = new byte[keep * 16][];
			while (System.nanoTime() < end) {
				live[(int) (n * 7919 % live.length)] = new byte[65536];
				n++;
			}
			System.out.println("churn: " + n);
		}
	}
E
javac Churn.java

# a database larger than its shared_buffers
chown postgres /srv
su postgres -s /bin/sh <<-'E'
	set -eu
	PATH=/usr/lib/postgresql/15/bin:$PATH
	initdb -D /srv/pg -A trust --no-locale >/dev/null
	cat >>/srv/pg/postgresql.conf <<-'C'
		shared_buffers = 128MB
		unix_socket_directories = '/tmp'
		listen_addresses = ''
		max_wal_size = 256MB
	C
	pg_ctl -D /srv/pg -s -w -l /dev/null start
	createdb -h /tmp bench
	pgbench -h /tmp -q -i -s 20 bench 2>/dev/null
	pg_ctl -D /srv/pg -s -w -m fast stop
E
rm -rf /var/lib/postgresql/15/main /usr/share/doc /usr/share/locale /tmp/*
