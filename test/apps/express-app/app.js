'use strict';
// Express as its guide shows it, with a string as port and a local proxy trusted.
const express = require('express');

const app = express();
app.set('trust proxy', 'loopback');
app.get('/', (req, res) => res.send('hello from express'));
app.get('/ip', (req, res) => res.send(String(req.ip)));
app.post('/echo', express.json(), (req, res) => res.json(req.body));
app.listen(process.env.PORT || '41116', () => console.log('express is listening'));
