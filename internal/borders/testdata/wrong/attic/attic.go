// Package attic has no room.
package attic
